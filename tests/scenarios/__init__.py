"""Tests of the programs under scenarios/, run as subprocesses against the embedded broker."""
