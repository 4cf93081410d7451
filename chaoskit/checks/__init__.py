"""Checks: pure functions from a journal to verdicts and findings. No process, no clock, no file.

`judge` runs them all. A check that crashes becomes an inconclusive finding, never a green run.
"""

from chaoskit.checks.judge import Judgement, judge

__all__ = ["Judgement", "judge"]
