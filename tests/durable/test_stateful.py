"""StatefulWorkerManager: what a worker sees of it, file by file and answer by answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.durable.errors import (
    ConflictingMessageError,
    CorruptFileError,
    DurableError,
    InvalidMessageError,
    MustExitError,
    UnsafeNameError,
    WriteFailedError,
)
from chaoskit.durable.stateful import MessageRow, Outcome, StatefulWorkerManager

from .machine import Fault, Machine

COLUMNS = ("msg_id", "chunk_number", "value")
HEADER = "msg_id,chunk_number,value\n"


class Sum:
    """Ready, as a property, after three rows; refuses a value of 666."""

    def __init__(self, client_id: str) -> None:
        self.client_id, self.rows, self.total = client_id, 0, 0

    @property
    def is_ready(self) -> bool:
        return self.rows >= 3

    def update_state(self, row: dict[str, str]) -> None:
        self.rows += 1
        if row["value"] == "666":
            raise ValueError("666 is refused")
        self.total += int(row["value"])


Message = tuple[str, object]
Manager = StatefulWorkerManager[Message, Sum]


def new(directory: Path, **options: object) -> Manager:
    made: Manager = StatefulWorkerManager(directory / "metadata", Sum, lambda message: message, COLUMNS, **options)
    return made


def chunk(number: int, value: object = None, client: str = "CLI1") -> Message:
    return client, (f"{client}{number:08d}", number, 10 * number if value is None else value)


def total(manager: Manager, client: str = "CLI1") -> int | None:
    state = manager.get_client_state(client)
    return state.total if state else None


def test_the_file_is_the_one_of_the_contract(tmp_path: Path) -> None:
    manager = new(tmp_path)
    assert manager.rebuild_state().rows == {}
    assert [manager.process_message(chunk(number)) for number in (1, 2)] == [Outcome.NEW, Outcome.NEW]
    assert (tmp_path / "metadata" / "CLI1.csv").read_bytes() == (
        HEADER + "CLI100000001,1,10\nCLI100000002,2,20\n"
    ).encode()


@pytest.mark.parametrize(
    "row", [("m", 1, 10), ["m", "1", "10"], {"value": 10, "msg_id": "m", "chunk_number": 1, "x": 0}]
)
def test_a_row_may_be_a_sequence_or_a_mapping_and_arrives_as_text(tmp_path: Path, row: object) -> None:
    seen: list[dict[str, str]] = []

    class Seeing(Sum):
        def update_state(self, row: dict[str, str]) -> None:
            seen.append(row)

    def manager() -> StatefulWorkerManager[object, Seeing]:
        return StatefulWorkerManager(tmp_path / "m", Seeing, lambda message: MessageRow("C", message), COLUMNS)

    manager().process_message(row)
    manager().rebuild_state()
    assert seen == [{"msg_id": "m", "chunk_number": "1", "value": "10"}] * 2


def test_is_ready_may_be_an_attribute_a_property_or_a_method(tmp_path: Path) -> None:
    class Attribute:
        is_ready = False

        def __init__(self, _client: str) -> None: ...
        def update_state(self, row: dict[str, str]) -> None:
            self.is_ready = True

    class Method:
        def __init__(self, _client: str) -> None:
            self.rows = 0

        def is_ready(self) -> bool:
            return self.rows > 1

        def update_state(self, row: dict[str, str]) -> None:
            self.rows += 1

    for kind, ready in ((Attribute, ("CLI1",)), (Sum, ()), (Method, ())):
        manager = StatefulWorkerManager(tmp_path / kind.__name__, kind, lambda message: message, COLUMNS)
        manager.process_message(chunk(1))
        assert manager.ready_clients() == ready


def test_a_manager_that_was_not_told_to_rebuild_does_so_itself(tmp_path: Path) -> None:
    new(tmp_path).process_message(chunk(1))
    manager = new(tmp_path)
    assert manager.process_message(chunk(1)) is Outcome.DUPLICATE
    assert total(manager) == 10


def test_the_log_lines_are_the_ones_of_the_contract(tmp_path: Path) -> None:
    manager = new(tmp_path)
    manager.process_message(chunk(1))
    manager.process_message(chunk(2))
    lines: list[str] = []
    new(tmp_path, log=lines.append).rebuild_state()
    assert lines == ["Rebuilding state from metadata...", "Rebuilt state for client CLI1 (2 unique rows)"]


def test_a_ready_client_survives_restarts_until_it_is_marked(tmp_path: Path) -> None:
    manager = new(tmp_path)
    for number in (1, 2, 3):
        manager.process_message(chunk(number))
    for _ in range(3):
        manager = new(tmp_path)
        assert manager.rebuild_state().ready == ("CLI1",)
        assert manager.ready_clients() == ("CLI1",)
        assert total(manager) == 60
    manager.mark_client_ready("CLI1")
    assert manager.ready_clients() == ()
    assert manager.get_client_state("CLI1") is None
    assert not (tmp_path / "metadata" / "CLI1.csv").exists()


def test_a_late_duplicate_of_a_finished_client_leaves_nothing_behind(tmp_path: Path) -> None:
    manager = new(tmp_path)
    manager.process_message(chunk(1))
    manager.mark_client_ready("CLI1")
    manager.mark_client_ready("CLI1")
    for later in (manager, new(tmp_path)):
        assert later.process_message(chunk(1)) is Outcome.FINISHED
        assert later.is_finished("CLI1")
        assert list((tmp_path / "metadata").glob("*.csv")) == []


def test_rows_beside_a_marker_are_removed_at_the_next_start(tmp_path: Path) -> None:
    manager = new(tmp_path)
    manager.process_message(chunk(1))
    (tmp_path / "metadata" / "done" / "CLI1").touch()
    again = new(tmp_path)
    assert again.rebuild_state().finished == {"CLI1"}
    assert not (tmp_path / "metadata" / "CLI1.csv").exists()


def test_two_messages_in_flight_may_come_back_in_any_order(tmp_path: Path) -> None:
    manager = new(tmp_path)
    for number in (3, 1):
        manager.process_message(chunk(number))
    manager = new(tmp_path)
    outcomes = [manager.process_message(chunk(number)) for number in (1, 2, 3)]
    assert outcomes == [Outcome.DUPLICATE, Outcome.NEW, Outcome.DUPLICATE]
    assert total(manager) == 60


def test_a_known_id_with_another_payload_is_refused_live_and_after_a_restart(tmp_path: Path) -> None:
    manager = new(tmp_path)
    manager.process_message(chunk(1))
    for later in (manager, new(tmp_path)):
        with pytest.raises(ConflictingMessageError, match="CLI100000001 is known with another payload"):
            later.process_message(chunk(1, 11))
        assert total(later) == 10


def test_a_conflict_is_found_wherever_the_row_is_in_a_file_of_many_blocks(tmp_path: Path) -> None:
    manager = new(tmp_path)
    count = 20_000
    manager.process_batch([chunk(number) for number in range(1, count + 1)])
    for later in (manager, new(tmp_path)):
        for number in (1, 2, 3333, 9999, count):
            assert later.process_message(chunk(number)) is Outcome.DUPLICATE
            with pytest.raises(ConflictingMessageError):
                later.process_message(chunk(number, 7))


BAD_ROWS: dict[str, object] = {
    "too short": ("m", 1),
    "too long": ("m", 1, 2, 3),
    "no id": ("", 1, 2),
    "a comma": ("m,n", 1, 2),
    "a quote": ("m", 1, '"'),
    "a line break": ("m\n", 1, 2),
    "a carriage return": ("m", "1\r", 2),
    "a NUL": ("m", "\0", 2),
    "None": ("m", None, 2),
    "a bool": ("m", True, 2),
    "a list": ("m", [1], 2),
    "a missing column": {"msg_id": "m", "value": 1},
    "a lone surrogate": ("m", "\ud800", 2),
    "longer than a row may be": ("m", "x" * 70_000, 2),
    "text instead of a row": "abc",
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    manager = new(tmp_path)
    manager.rebuild_state()
    with pytest.raises(InvalidMessageError) as refusal:
        manager.process_message(("CLI1", BAD_ROWS[name]))
    assert "\n" not in str(refusal.value)
    assert list((tmp_path / "metadata").glob("*.csv")) == []
    assert manager.process_message(chunk(1)) is Outcome.NEW


@pytest.mark.parametrize("client", ["../../etc/passwd", "", "a/b", "CLI1\0", ".", "CLI1.csv"])
def test_a_client_id_that_is_no_safe_name_is_refused_everywhere(tmp_path: Path, client: str) -> None:
    manager = new(tmp_path)
    with pytest.raises(UnsafeNameError):
        manager.process_message((client, ("m", 1, 2)))
    with pytest.raises(UnsafeNameError):
        manager.mark_client_ready(client)
    assert manager.get_client_state(client) is None


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("client"), InvalidMessageError("no")])
def test_what_extract_metadata_refuses_is_an_invalid_message(tmp_path: Path, error: Exception) -> None:
    def extract(_message: object) -> MessageRow:
        raise error

    manager = StatefulWorkerManager(tmp_path / "m", Sum, extract, COLUMNS)
    with pytest.raises(InvalidMessageError):
        manager.process_message("x")


def test_a_row_that_the_state_refuses_is_taken_off_the_disk_and_out_of_the_state(tmp_path: Path) -> None:
    manager = new(tmp_path)
    manager.process_message(chunk(1))
    with pytest.raises(InvalidMessageError, match="666 is refused"):
        manager.process_message(chunk(2, 666))
    for later in (manager, new(tmp_path)):
        state = later.get_client_state("CLI1")
        assert state is not None
        assert (state.rows, state.total) == (1, 10)


def test_a_batch_answers_each_message_and_survives_bad_ones(tmp_path: Path) -> None:
    manager = new(tmp_path)
    manager.process_message(chunk(1, client="CLI9"))
    manager.mark_client_ready("CLI9")
    batch = [chunk(1), chunk(1), chunk(1, 7), chunk(2, 666), ("../x", ("m", 1, 2)), chunk(1, client="CLI2"), chunk(3)]
    results = manager.process_batch([*batch, chunk(1, client="CLI9")])
    assert results[0] is Outcome.NEW
    assert results[1] is Outcome.DUPLICATE
    assert isinstance(results[2], ConflictingMessageError)
    assert isinstance(results[3], InvalidMessageError)
    assert isinstance(results[4], UnsafeNameError)
    assert results[5:] == [Outcome.NEW, Outcome.NEW, Outcome.FINISHED]
    for later in (manager, new(tmp_path)):
        assert (total(later), total(later, "CLI2")) == (40, 10)


def test_an_empty_batch_is_fine(tmp_path: Path) -> None:
    assert new(tmp_path).process_batch([]) == []


def test_a_batch_takes_one_write_and_one_fsync_a_client(quick_path: Path) -> None:
    machine = Machine(quick_path / "root")
    manager = new(machine.root, system=machine)
    manager.process_batch([chunk(1), chunk(1, client="CLI2")])
    machine.plan()
    manager.process_batch([chunk(number, client=client) for number in range(2, 52) for client in ("CLI1", "CLI2")])
    calls = ["write metadata/CLI1.csv", "fsync metadata/CLI1.csv", "write metadata/CLI2.csv", "fsync metadata/CLI2.csv"]
    assert machine.calls == calls


def test_in_a_batch_a_full_disk_concerns_only_the_client_it_hits(quick_path: Path) -> None:
    machine = Machine(quick_path / "root")
    manager = new(machine.root, system=machine)
    manager.process_batch([chunk(1), chunk(1, client="CLI2")])
    machine.plan(Fault(0, "ENOSPC"))
    results = manager.process_batch([chunk(1), chunk(2), chunk(2), chunk(2, 7), chunk(2, client="CLI2")])
    assert results[0] is Outcome.DUPLICATE
    # The conflict too: what it is in conflict with is not on disk.
    assert all(isinstance(result, WriteFailedError) for result in results[1:4])
    assert results[4] is Outcome.NEW
    assert manager.process_message(chunk(2)) is Outcome.NEW


GOOD = HEADER + "a,1,10\nb,2,20\n"
TAILS = ["c", "c,3", "c,3,30", "c,3,30\0\0", "\0" * 100, "c,3\n", ",3,30\n", "x" * 1000, 'c,3,"\n', "\xff\n", "\n"]


@pytest.mark.parametrize("tail", TAILS)
def test_a_bad_last_row_is_cut_and_the_rest_counts(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "metadata" / "CLI1.csv"
    path.parent.mkdir()
    path.write_bytes(GOOD.encode() + tail.encode("latin-1"))
    manager = new(tmp_path)
    rebuilt = manager.rebuild_state()
    assert (rebuilt.rows, rebuilt.cut_bytes) == ({"CLI1": 2}, {"CLI1": len(tail)})
    assert path.read_text() == GOOD
    assert total(manager) == 30


@pytest.mark.parametrize("length", range(len(HEADER)))
def test_a_torn_header_is_healed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "metadata" / "CLI1.csv"
    path.parent.mkdir()
    path.write_text(HEADER[:length])
    manager = new(tmp_path)
    manager.process_message(chunk(1))
    assert path.read_text() == HEADER + "CLI100000001,1,10\n"


@pytest.mark.parametrize("bad", ["b,2\n", ",2,20\n", "\n", 'b,2,"20"\n', "b,2,20\r\n", "b,2,\0\n", "b,2,20,30\n"])
@pytest.mark.parametrize("after", ["c,3,30\n", "c,3"])
def test_a_bad_row_that_is_not_the_last_stops_the_start_and_changes_nothing(
    tmp_path: Path, bad: str, after: str
) -> None:
    path = tmp_path / "metadata" / "CLI1.csv"
    path.parent.mkdir()
    content = (HEADER + "a,1,10\n" + bad + after).encode()
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"CLI1.csv:3: its? .*correct the file or move it away"):
        new(tmp_path).rebuild_state()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content", ["id;value\n1;2\n", "msg_id,value\n", "hello", "msg_id,chunk_number,value\r\n", "\n"]
)
def test_a_foreign_header_stops_the_start_in_one_line_and_changes_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metadata" / "CLI1.csv"
    path.parent.mkdir()
    path.write_bytes(content.encode())
    with pytest.raises(
        CorruptFileError, match=r"CLI1.csv:1: the header is .* instead of 'msg_id,chunk_number,value'"
    ) as stop:
        new(tmp_path).rebuild_state()
    assert "\n" not in str(stop.value)
    assert path.read_bytes() == content.encode()


def test_a_row_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "metadata" / "CLI1.csv"
    path.parent.mkdir()
    path.write_text(GOOD + "a,1,10\nc,3,30\n")
    manager = new(tmp_path)
    assert manager.rebuild_state().rows == {"CLI1": 3}
    assert total(manager) == 60


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("/etc/passwd")])
def test_a_directory_or_a_link_in_the_place_of_a_file_stops_the_start_in_one_line(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    (tmp_path / "metadata").mkdir()
    make(tmp_path / "metadata" / "CLI1.csv")
    with pytest.raises(CorruptFileError, match=r"cannot read .*CLI1\.csv"):
        new(tmp_path).rebuild_state()


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    for name in ("notes.txt", "my client.csv", ".hidden.csv"):
        (tmp_path / "metadata" / name).write_text("mine")
    assert new(tmp_path).rebuild_state().rows == {}
    assert len(list((tmp_path / "metadata").iterdir())) == 4


def test_after_an_error_that_nobody_can_undo_the_manager_refuses_to_go_on(quick_path: Path) -> None:
    machine = Machine(quick_path / "root")
    manager = new(machine.root, system=machine)
    manager.process_message(chunk(1))
    machine.plan(Fault(1, "EIO"), Fault(2, "EIO"))
    with pytest.raises(MustExitError):
        manager.process_message(chunk(2))
    machine.plan()
    for use in (lambda: manager.process_message(chunk(3)), lambda: manager.ready_clients(), manager.rebuild_state):
        with pytest.raises(MustExitError, match="exit and start again"):
            use()


def test_a_bug_in_the_state_also_stops_the_manager(tmp_path: Path) -> None:
    class Buggy(Sum):
        def update_state(self, row: dict[str, str]) -> None:
            raise AttributeError("a bug")

    manager = StatefulWorkerManager(tmp_path / "m", Buggy, lambda message: message, COLUMNS)
    with pytest.raises(AttributeError):
        manager.process_message(chunk(1))
    with pytest.raises(MustExitError):
        manager.process_message(chunk(2))


def test_threads_take_turns(tmp_path: Path) -> None:
    manager = new(tmp_path)
    results: list[Outcome | DurableError] = []

    def work(start: int) -> None:
        results.extend(manager.process_message(chunk(number)) for number in range(start, 200, 2))

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(Outcome.NEW) == 200
    assert results.count(Outcome.DUPLICATE) == 100
    assert total(new(tmp_path)) == sum(10 * number for number in range(200))


@pytest.mark.parametrize("columns", [(), ("a", "a"), ("a", ""), ("a,b",), ("a\n",)])
def test_columns_that_make_no_header_are_refused(tmp_path: Path, columns: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="csv_columns"):
        StatefulWorkerManager(tmp_path, Sum, lambda message: message, columns)


@pytest.mark.parametrize("columns", [("id",), ("id", "a"), ("id", "a", "b", "c")])
def test_any_number_of_columns_will_do(tmp_path: Path, columns: tuple[str, ...]) -> None:
    class Rows:
        is_ready = False

        def __init__(self, _client: str) -> None:
            self.seen: list[dict[str, str]] = []

        def update_state(self, row: dict[str, str]) -> None:
            self.seen.append(row)

    def manager() -> StatefulWorkerManager[Message, Rows]:
        return StatefulWorkerManager(tmp_path / "m", Rows, lambda message: message, columns)

    row = [f"v{index}" for index in range(len(columns))]
    assert manager().process_message(("C", row)) is Outcome.NEW
    again = manager()
    assert again.process_message(("C", row)) is Outcome.DUPLICATE
    state = again.get_client_state("C")
    assert state is not None
    assert state.seen == [dict(zip(columns, row, strict=True))]
