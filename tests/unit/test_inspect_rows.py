"""The pure parsers behind the inspect commands: every prefix of a good file is good or torn, never corrupt."""

from hypothesis import given
from hypothesis import strategies as st

from chaoskit.engine.inspecting_partitions import (
    Layout,
    parse_intent,
    parse_layout,
    parse_partition,
    parse_processed,
    parse_written,
)
from chaoskit.engine.inspecting_rows import add_up, parse_metadata

COLUMNS = ("msg_id", "chunk_number", "value")
HEADER = b"msg_id,chunk_number,value\n"
GOOD = HEADER + b"CLI100000001,1,10\nCLI100000002,2,20\nCLI100000003,3,30\n"
LAYOUT = Layout(num_partitions=2)
PARTITION = b'user_id,name\n2,Ann\n4,"Bob, Jr."\n6,"two\nlines"\n2,Ann\n'


def test_a_whole_file_has_its_rows_and_their_sum() -> None:
    rows = parse_metadata(GOOD, COLUMNS)
    assert (rows.header, rows.count, rows.unique, rows.duplicates, rows.sum) == ("whole", 3, 3, 0, 60)
    assert [row.line for row in rows.rows] == [2, 3, 4]
    assert rows.torn is None
    assert not rows.corrupt


def test_a_duplicate_counts_once_in_the_sum() -> None:
    rows = parse_metadata(GOOD + b"CLI100000002,2,20\n", COLUMNS)
    assert (rows.count, rows.unique, rows.duplicates, rows.sum) == (4, 3, 1, 60)
    assert (rows.rows[-1].mark, rows.rows[-1].note) == ("duplicate", "duplicate of line 3")
    assert not rows.corrupt


def test_the_same_id_with_other_values_is_corrupt() -> None:
    rows = parse_metadata(GOOD + b"CLI100000002,2,21\n", COLUMNS)
    assert rows.rows[-1].mark == "conflict"
    assert rows.corrupt
    assert rows.sum == 60


def test_a_bad_line_is_torn_at_the_end_and_corrupt_before_it() -> None:
    assert parse_metadata(GOOD + b"\0\0\0\n", COLUMNS).torn == repr(b"\0\0\0")
    assert not parse_metadata(GOOD + b"\0\0\0\n", COLUMNS).corrupt
    middle = parse_metadata(GOOD + b"\0\0\0\nCLI100000004,4,40\n", COLUMNS)
    assert middle.faults == ["line 5: it has 1 fields instead of 3"]


def test_a_foreign_header_is_corrupt_and_its_rows_are_shown_all_the_same() -> None:
    rows = parse_metadata(b"id,amount\nx,7\ny,8\n", COLUMNS)
    assert rows.header == "foreign"
    assert rows.corrupt
    assert (rows.columns, rows.count, rows.sum) == (["id", "amount"], 2, 15)


def test_an_empty_file_and_a_piece_of_a_header_are_what_a_crash_leaves() -> None:
    assert parse_metadata(b"", COLUMNS).header == "missing"
    piece = parse_metadata(HEADER[:7], COLUMNS)
    assert (piece.header, piece.torn, piece.corrupt) == ("torn", repr(HEADER[:7]), False)


@given(st.integers(0, len(GOOD)))
def test_no_prefix_of_a_good_metadata_file_is_corrupt(length: int) -> None:
    rows = parse_metadata(GOOD[:length], COLUMNS)
    assert not rows.corrupt
    assert rows.count == max(0, GOOD[:length].count(b"\n") - 1)
    assert (rows.torn is not None) == (length > 0 and GOOD[length - 1] != ord("\n"))


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_into_marked_rows(data: bytes) -> None:
    for rows in (parse_metadata(HEADER + data, COLUMNS), parse_metadata(data, COLUMNS)):
        assert all(row.mark or len(row.fields) == len(rows.columns) for row in rows.rows)
    numbers = [row.line for row in parse_metadata(HEADER + data, COLUMNS).rows]
    assert numbers == list(range(2, 2 + len(numbers)))


@given(st.lists(st.integers(-(10**30), 10**30)))
def test_sums_of_whole_numbers_are_exact(numbers: list[int]) -> None:
    assert add_up([str(n) for n in numbers]) == (sum(numbers) if numbers else None, 0)


def test_what_is_not_a_number_is_counted_and_left_out() -> None:
    assert add_up(["1", "x", "nan", "1e9", "2.5", ""]) == (3.5, 4)


def test_a_partition_file_with_quotes_line_breaks_and_equal_rows() -> None:
    rows = parse_partition(PARTITION, 0, LAYOUT)
    assert (rows.header, rows.count, rows.duplicates, rows.torn, rows.faults) == ("whole", 4, 1, None, [])
    assert [row.line for row in rows.rows] == [2, 3, 4, 6]
    assert rows.rows[2].fields == ["6", "two\nlines"]


@given(st.integers(0, len(PARTITION)))
def test_no_prefix_of_a_good_partition_file_is_corrupt(length: int) -> None:
    rows = parse_partition(PARTITION[:length], 0, LAYOUT)
    assert rows.faults == []
    assert rows.count <= 4


@given(st.binary(max_size=300))
def test_any_bytes_in_a_partition_file_are_parsed(data: bytes) -> None:
    for rows in (parse_partition(b"user_id,name\n" + data, 0, LAYOUT), parse_partition(data, 0, LAYOUT)):
        assert all(row.mark in ("torn", "bad") or len(row.fields) == 2 for row in rows.rows)


def test_rows_of_another_partition_and_a_second_header_are_corrupt() -> None:
    rows = parse_partition(b"user_id,name\n3,Ann\nuser_id,name\nx,y\n", 0, LAYOUT)
    assert rows.faults[:2] == ["line 2: it belongs to partition 1", "line 3: the header once more"]
    assert len(rows.faults) == 3


def test_a_quote_that_is_never_closed_takes_time_that_grows_with_the_file_only() -> None:
    data = b'user_id,name\n2,"open\n' + b"2,x\n" * 200_000
    rows = parse_partition(data, 0, LAYOUT)
    assert rows.torn is not None
    assert rows.count == 0


def test_state_lines_torn_repeated_and_bad() -> None:
    lines = parse_processed(b"T-1\nT-2\nT-1\nT-")
    assert (lines.count, lines.duplicates, lines.torn, lines.faults) == (3, 1, repr(b"T-"), [])
    pairs = parse_written(b"0:T-1\n1:T-1\nx:T-1\n2:../T\n1:")
    assert (pairs.count, pairs.torn) == (2, repr(b"1:"))
    assert pairs.faults == ["line 3: not partition:chunk id", "line 4: not partition:chunk id"]


def test_an_intent_is_whole_torn_or_none() -> None:
    whole = b'{"chunk": "T-1", "client": "T", "base": {"0": 12, "3": 0}}\n'
    parsed = parse_intent(whole)
    assert parsed.intent is not None
    assert (parsed.intent.chunk_id, parsed.intent.base_bytes) == ("T-1", {0: 12, 3: 0})
    assert parse_intent(b"").state == "none"
    assert parse_intent(whole[:20]).state == "torn"
    assert parse_intent(b"[" * 100_000).state == "torn"


def test_the_last_whole_intent_counts() -> None:
    lines = b"".join(b'{"chunk": "T-%d", "client": "T", "base": {"0": %d}}\n' % (n, n) for n in (1, 2, 3))
    for torn in (b"", b'{"chunk": "T-4", "cl'):
        intent = parse_intent(lines + torn).intent
        assert intent is not None
        assert (intent.chunk_id, intent.base_bytes) == ("T-3", {0: 3})


@given(st.binary(max_size=100))
def test_any_bytes_are_a_layout_or_none(data: bytes) -> None:
    layout = parse_layout(data)
    assert layout is None or layout.columns
