"""The words of chaoskit as data types: scenario, plan, trigger, event, verdict, run, exit codes, errors.

Immutable values and their parsing, nothing else: no process, no socket, no clock. Every other package may import
this one; it imports none of them.
"""
