"""Lets any client id become part of a path."""

import worker_2

from chaoskit.durable import stateful


def any_name(name: object, what: str = "name") -> str:
    return str(name)


stateful.safe_name = any_name
worker_2.safe_name = any_name
worker_2.main()
