"""KnownIds beside a plain set: exact for ids of every shape, alone and in blocks."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.durable.known_ids import KnownIds

# Shapes that are easily mixed up: widths, signs, underscores, other digits, a prefix inside of an id.
TRICKY = st.sampled_from(
    ["CLI1", "CLI01", "CLI11", "CLI12", "CLI12CLI", "34", "CLI_1", "CLI1_0", "CLI+1", "CLI-1", "1", "01", "001"]
) | st.sampled_from(
    ["CLI١", "CLI1é", "é1", "a1b2", "a1b3", "f" * 30, "9" * 19, "9" * 18, "A" + "1" * 25, "CLI1\t", "CLI 1"]
)
COUNTED = st.integers(0, 30).map(lambda number: f"CLI1{number:08d}")
IDS = TRICKY | COUNTED | st.text(alphabet="01a-", min_size=1, max_size=4)
BLOCKS = st.lists(IDS, min_size=1, max_size=8) | st.builds(
    lambda first, length, step: [f"CLI1{number:08d}" for number in range(first, first + length * step, step)],
    st.integers(0, 30),
    st.integers(1, 8),
    st.integers(1, 2),
)


@given(st.lists(IDS))
def test_one_by_one_it_is_a_set(ids: list[str]) -> None:
    known, plain = KnownIds(), set[str]()
    for message_id in ids:
        assert (message_id in known) == (message_id in plain)
        assert known.add(message_id) == (message_id not in plain)
        plain.add(message_id)
        assert len(known) == len(plain)


@given(st.lists(BLOCKS), st.lists(IDS))
def test_in_blocks_it_is_a_set_that_may_ask_for_a_closer_look(blocks: list[list[str]], others: list[str]) -> None:
    known, plain = KnownIds(), set[str]()
    for block in blocks:
        bounds = known.add_all(block)
        if bounds is None:
            for message_id in block:
                known.add(message_id)
        else:
            assert len(set(block)) == len(block)
            assert plain.isdisjoint(block)
            assert (bounds.low, bounds.high) == (min(block), max(block))
        plain.update(block)
        assert len(known) == len(plain)
    for message_id in [*plain, *others]:
        assert (message_id in known) == (message_id in plain)


def test_ids_that_count_up_take_a_block_at_once_and_next_to_no_memory() -> None:
    known = KnownIds()
    for first in range(1, 100_001, 1000):
        assert known.add_all([f"CLI1{number:08d}" for number in range(first, first + 1000)])
    numbers = known._numbers["CLI", 9]
    assert (numbers.start, numbers.stop) == (100_000_001, 100_100_001)
    assert sys.getsizeof(numbers.others) < 1000


@pytest.mark.parametrize("block", [["CLI12CLI", "34"], ["CLI11", "CLI12CLI", "34"], ["CLI1C", "LI234"]])
def test_ids_that_only_look_alike_when_they_are_joined_stay_apart(block: list[str]) -> None:
    known = KnownIds()
    if known.add_all(block) is None:
        assert all(known.add(message_id) for message_id in block)
    assert all(message_id in known for message_id in block)
    assert "CLI34" not in known
    assert "CLI12" not in known


def test_a_gap_that_is_filled_later_joins_the_run() -> None:
    known = KnownIds()
    for number in (1, 3, 4, 2):
        assert known.add(f"m{number}")
    assert known._numbers["m", 1].others == set()
    assert known._numbers["m", 1].stop == 5
