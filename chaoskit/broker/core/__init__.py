"""The broker's core: AMQP 0-9-1 as RabbitMQ speaks it, free of sockets, threads and clocks.

Bytes go into `Connection.receive`, bytes come out of `Connection.take_output`, and the time is an argument.
All connections of one broker share a `VirtualHost`, which holds exchanges, queues and messages. Where versions of
RabbitMQ differ, it follows 4 (frames of at least 8192 bytes, no reading of `x-death` headers that clients publish).

What the core does not do:

- durability: `durable` and `delivery_mode=2` are remembered and compared, and everything dies with the process;
- virtual hosts other than `/`, permissions, TLS, SASL mechanisms other than PLAIN and AMQPLAIN;
- `tx.*`, `basic.publish` with `immediate`, `channel.flow` with active=false and `basic.recover` without requeue,
  all refused with 540 NOT_IMPLEMENTED (RabbitMQ knows the first);
- headers exchanges, alternate and internal exchanges, bindings between exchanges, CC and BCC headers: the first three
  are refused with 540, the headers travel as any other header;
- queue arguments other than `x-message-ttl`, `x-dead-letter-exchange`, `x-dead-letter-routing-key`, `x-max-length`
  and the harmless `x-queue-type=classic`, `x-queue-mode`, `x-queue-version`, `x-overflow=drop-head`: those that
  RabbitMQ knows are refused with 540, those that it does not know are kept and compared, as RabbitMQ does;
- quorum queues and streams, consumer priorities (540), `connection.blocked` and flow control of publishers:
  messages live in memory and nothing limits their number;
- direct reply-to, `user-id` federation, the management API.
"""
