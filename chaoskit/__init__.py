"""chaoskit: chaos testing for message pipelines.

It brings a pipeline up, hurts it at exact crash points (a system call, a message, a log line), restarts what
it hurt, and turns the verifier's lines into a report and an exit code.
"""

__version__ = "0.1.0"
