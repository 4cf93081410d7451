"""Sends PAYMENTS payments, of alice and bob in turn, and ends when the broker has confirmed each of them."""

import json
import os

import pika

QUEUE = os.environ["OUTPUT_QUEUE"]


def main() -> None:
    host, port = os.environ["RABBITMQ_HOST"], int(os.environ["RABBITMQ_PORT"])
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(QUEUE)
    for number in range(1, int(os.environ["PAYMENTS"]) + 1):
        customer = "alice" if number % 2 else "bob"
        payment = {"id": f"payment-{number:04d}", "customer": customer, "cents": 100 * number}
        channel.basic_publish("", QUEUE, json.dumps(payment).encode())
        print(f"sent {payment['id']}")
    connection.close()


if __name__ == "__main__":
    main()
