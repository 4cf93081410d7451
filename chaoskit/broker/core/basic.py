"""The basic.* methods and confirm.select, and the content that follows a basic.publish.

Each function takes a channel and the method that a client sent, and raises AmqpError for what RabbitMQ refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pamqp import commands

from chaoskit.broker.core import wire
from chaoskit.broker.core.channel import Channel, Content, Held
from chaoskit.broker.core.errors import AmqpError, Reply, not_implemented
from chaoskit.broker.core.message import Message, read_message
from chaoskit.broker.core.queue import Consumer, Queue
from chaoskit.broker.core.topology import find_queue


def qos(channel: Channel, method: commands.Basic.Qos) -> None:
    if method.prefetch_size:
        raise AmqpError(Reply.NOT_IMPLEMENTED, f"prefetch_size!=0 ({method.prefetch_size})")
    count = method.prefetch_count or 0
    if method.global_:
        channel.shared_prefetch = count
        for consumer in list(channel.consumers.values()):
            consumer.queue.serve(channel.vhost.now_s)
    else:
        channel.prefetch = count
    channel.send(commands.Basic.QosOk())


def consume(channel: Channel, method: commands.Basic.Consume) -> None:
    queue = find_queue(channel, method.queue)
    if method.consumer_tag and method.consumer_tag in channel.consumers:
        raise AmqpError(Reply.NOT_ALLOWED, f"attempt to reuse consumer tag '{method.consumer_tag}'")
    _check_exclusive(queue, method.exclusive)
    if method.arguments and "x-priority" in method.arguments:
        raise not_implemented("consumer argument x-priority")
    tag = method.consumer_tag or f"amq.ctag-{channel.vhost.new_name()}"
    consumer = Consumer(tag, channel, queue, method.no_ack, method.exclusive, channel.prefetch)
    channel.consumers[tag] = consumer
    if not method.nowait:
        channel.send(commands.Basic.ConsumeOk(tag))
    queue.consumers.append(consumer)
    queue.serve(channel.vhost.now_s)


def _check_exclusive(queue: Queue, wanted: bool) -> None:
    taken = any(consumer.exclusive for consumer in queue.consumers)
    if taken or (wanted and queue.consumers):
        raise AmqpError(Reply.ACCESS_REFUSED, f"queue '{queue.name}' in vhost '/' in exclusive use")


def cancel(channel: Channel, method: commands.Basic.Cancel) -> None:
    consumer = channel.consumers.get(method.consumer_tag or "")
    if consumer is not None:
        channel.drop_consumer(consumer)
    if not method.nowait:
        channel.send(commands.Basic.CancelOk(method.consumer_tag))


def get(channel: Channel, method: commands.Basic.Get) -> None:
    queue = find_queue(channel, method.queue)
    entry = queue.take(channel.vhost.now_s)
    if entry is None:
        channel.send(commands.Basic.GetEmpty())
        return
    tag, message, left = channel.next_delivery_tag(), entry.message, len(queue.ready)
    channel.link.write(
        wire.encode_get_ok(channel.number, tag, entry.redelivered, message.exchange, message.routing_key, left)
    )
    channel.send_content(entry)
    if not method.no_ack:
        channel.hold(tag, Held(entry, queue, None))


def ack(channel: Channel, method: wire.Ack) -> None:
    channel.serve(channel.release(method.delivery_tag, method.multiple))


def nack(channel: Channel, method: commands.Basic.Nack) -> None:
    _refuse(channel, channel.release(method.delivery_tag, method.multiple), method.requeue)


def reject(channel: Channel, method: commands.Basic.Reject) -> None:
    _refuse(channel, channel.release(method.delivery_tag or 0, False), method.requeue)


def _refuse(channel: Channel, released: list[Held], requeue: bool) -> None:
    if requeue:
        channel.requeue(released)
    else:
        for held in released:
            held.queue.reject([held.entry])
    channel.serve(released)


def recover(channel: Channel, method: commands.Basic.Recover) -> None:
    recover_async(channel, method)
    channel.send(commands.Basic.RecoverOk())


def recover_async(channel: Channel, method: Any) -> None:
    if not method.requeue:
        raise AmqpError(Reply.NOT_IMPLEMENTED, "requeue=false")
    _refuse(channel, channel.release(0, True), True)


def confirm_select(channel: Channel, method: commands.Confirm.Select) -> None:
    channel.confirming = True
    if not method.nowait:
        channel.send(commands.Confirm.SelectOk())


def publish(channel: Channel, method: wire.Publish) -> None:
    if method.immediate:
        raise AmqpError(Reply.NOT_IMPLEMENTED, "immediate=true")
    channel.content = Content(method)


def content_header(channel: Channel, frame: wire.Frame) -> None:
    """The frame behind basic.publish that says how long the body is."""
    content = channel.content
    if content is None or content.properties is not None:
        raise _unexpected(channel)
    class_id, size_bytes, properties = wire.decode_content_header(frame)
    if class_id != wire.BASIC_CLASS:
        raise AmqpError(
            Reply.UNEXPECTED_FRAME,
            f"expected content header for class 60, got one for class {class_id} instead",
        )
    limit = channel.link.max_message_bytes
    if size_bytes > limit:
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f"message size {size_bytes} is larger than configured max size {limit}",
        )
    content.properties, content.size_bytes = properties, size_bytes
    if not size_bytes:
        _finish(channel, content, properties)


def content_body(channel: Channel, payload: bytes) -> None:
    """One more piece of a body."""
    content = channel.content
    if content is None or content.properties is None:
        raise _unexpected(channel)
    content.chunks.append(payload)
    content.received_bytes += len(payload)
    if content.received_bytes > content.size_bytes:
        raise AmqpError(
            Reply.UNEXPECTED_FRAME,
            f"content body of {content.received_bytes} bytes, the content header says {content.size_bytes}",
        )
    if content.received_bytes == content.size_bytes:
        _finish(channel, content, content.properties)


def _unexpected(channel: Channel) -> AmqpError:
    content = channel.content
    if content is None:
        return AmqpError(Reply.UNEXPECTED_FRAME, "expected method frame, got non method frame instead")
    expected = "content header for class 60" if content.properties is None else "content body"
    what = expected.partition(" for ")[0]
    return AmqpError(Reply.UNEXPECTED_FRAME, f"expected {expected}, got non {what} frame instead")


def check_no_content(channel: Channel) -> None:
    """A method may not come before the content of the last one is complete; raises AmqpError 505."""
    if channel.content is not None:
        raise _unexpected(channel)


def _finish(channel: Channel, content: Content, properties: bytes) -> None:
    channel.content = None
    publish = content.publish
    exchange = channel.vhost.exchange(publish.exchange)
    body = content.chunks[0] if len(content.chunks) == 1 else b"".join(content.chunks)
    message = read_message(publish, properties, body, channel.link.user)
    if not channel.vhost.publish(exchange, message) and publish.mandatory:
        _send_back(channel, message)
    channel.count_publish()


def _send_back(channel: Channel, message: Message) -> None:
    channel.link.write(wire.encode_return(channel.number, message.exchange, message.routing_key))
    channel.link.write(
        wire.encode_content(channel.number, message.properties, message.body, channel.link.max_frame_bytes)
    )


HANDLERS: dict[type[Any], Callable[[Channel, Any], None]] = {
    wire.Publish: publish,
    wire.Ack: ack,
    commands.Basic.Ack: ack,
    commands.Basic.Qos: qos,
    commands.Basic.Consume: consume,
    commands.Basic.Cancel: cancel,
    commands.Basic.Get: get,
    commands.Basic.Nack: nack,
    commands.Basic.Reject: reject,
    commands.Basic.Recover: recover,
    commands.Basic.RecoverAsync: recover_async,
    commands.Confirm.Select: confirm_select,
}
