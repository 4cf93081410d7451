"""Cutting a program's output into lines, however its bytes arrive."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from chaoskit.runtime.processes import LINE_LIMIT, Lines


def lines(*pieces: bytes) -> list[str]:
    cutter = Lines()
    return [line for piece in pieces for line in cutter.feed(piece)] + list(cutter.end())


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=50)), st.data())
def test_lines_do_not_depend_on_how_the_bytes_arrive(texts: list[str], data: st.DataObject) -> None:
    stream = "".join(f"{text}\n" for text in texts).encode()
    places = data.draw(st.lists(st.integers(0, 10_000), max_size=5))
    assert lines(*cut_at(stream, places)) == texts


def test_a_last_line_without_a_newline_counts() -> None:
    assert lines(b"one\ntwo") == ["one", "two"]
    assert lines(b"") == []
    assert lines(b"\n\n") == ["", ""]


def test_undecodable_bytes_are_replaced_and_carriage_returns_dropped() -> None:
    assert lines(b"a\xff\r\n") == ["a\ufffd"]


def test_a_long_line_is_cut_once_and_the_next_one_is_whole() -> None:
    long = b"x" * (3 * LINE_LIMIT)
    assert lines(long + b"\nnext\n") == ["x" * LINE_LIMIT, "next"]
    assert lines(*[b"x" * 1000] * 20, b"\nnext\n") == ["x" * LINE_LIMIT, "next"]


def test_a_flood_without_a_newline_is_not_kept_in_memory() -> None:
    cutter = Lines()
    found = [line for _ in range(1000) for line in cutter.feed(b"y" * 65536)]
    assert len(found) == 1
    assert len(found[0]) == LINE_LIMIT
    assert list(cutter.end()) == []
