"""Crash-safe state for message workers: standard library only, so it also runs inside workers and images.

Import the modules: `stateful` (StatefulWorkerManager), `files` (Disk), `names`, `errors`. Nothing is imported here, so
that a worker loads only what it uses.
"""
