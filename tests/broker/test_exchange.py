"""Topic patterns against a plain definition of what they mean."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from chaoskit.broker.core.exchange import topic_matches

WORDS = st.lists(st.sampled_from(["a", "b", ""]), max_size=6)
PATTERNS = st.lists(st.sampled_from(["a", "b", "", "*", "#"]), max_size=6)


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _matches(pattern[1:], words[1:])


@given(PATTERNS, WORDS)
def test_patterns_match_by_definition(pattern: list[str], words: list[str]) -> None:
    assert topic_matches(pattern, words) == _matches(pattern, words)


def test_a_pattern_full_of_hashes_stays_cheap() -> None:
    started_s = time.perf_counter()
    assert not topic_matches(["#", "a"] * 60, ["a"] * 59 + ["b"])
    assert time.perf_counter() - started_s < 0.5
