"""A Station beside programs of this machine: what outlasts a life, what goes over the wire, how it fails."""

import json
import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.tap import (
    Call,
    Door,
    Ended,
    Fired,
    Lost,
    Order,
    Report,
    Rule,
    Station,
    Unseen,
    receive,
    spawn,
    unavailable,
)
from chaoskit.tap.target import Credentials, acting_as

from .conftest import DEADLINE_S

_PRELUDE = "import os, sys\n"


class Loop:
    """The smallest loop that a Station can live in."""

    def __init__(self) -> None:
        self.callbacks: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        assert fd not in self.callbacks
        self.callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        del self.callbacks[fd]

    def turn(self) -> None:
        ready, _, _ = select.select(list(self.callbacks), [], [], DEADLINE_S)
        assert ready, "nothing happened in time"
        for fd in ready:
            if fd in self.callbacks:
                self.callbacks[fd]()


class Beside:
    """A Station, its loop, and the programs that are started beside it."""

    def __init__(self, root: Path, **options: bool) -> None:
        self.root, self.loop = root, Loop()
        self.reports: list[Report] = []
        self.station = Station(self.reports.append, self.loop.watch, self.loop.unwatch, **options)

    def start(self, source: str, *orders: Order, life: int = 0, data: Path | None = None) -> int:
        command = [sys.executable, "-I", "-S", "-c", _PRELUDE + dedent(source)]
        child = spawn(command, env=dict(os.environ), cwd=self.root)
        os.close(child.pidfd)
        assert child.listener_fd is not None
        self.station.supervise(
            child.listener_fd, program="w", life=life, root=self.root, data=data or self.root, orders=orders
        )
        return child.pid

    def live(self, source: str, *orders: Order, life: int = 0) -> tuple[int, list[Report]]:
        """One life from start to end: its exit code and its reports."""
        self.reports.clear()
        pid = self.start(source, *orders, life=life)
        while not any(isinstance(report.event, Ended) for report in self.reports):
            self.loop.turn()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), list(self.reports)


@pytest.fixture
def beside(root: Path) -> Iterator[Callable[..., Beside]]:
    """Makes Stations for the watched directory and closes them."""
    if (reason := unavailable()) is not None:
        pytest.skip(reason)
    made: list[Beside] = []

    def make(**options: bool) -> Beside:
        made.append(Beside(root, **options))
        return made[-1]

    yield make
    for one in made:
        one.station.close()
        assert one.loop.callbacks == {}


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_EVENTS = st.one_of(
    st.builds(
        Call,
        _TEXT,
        _TEXT,
        _TEXT,
        st.integers(),
        st.integers(),
        st.integers(),
        st.integers(),
        st.none(),
        st.floats(0, 9),
    ),
    st.builds(Fired, _TEXT, _TEXT, _TEXT, _TEXT, st.integers(), st.floats(0, 9)),
    st.builds(Unseen, _TEXT, st.integers(), st.floats(0, 9)),
    st.builds(Lost, _TEXT, st.floats(0, 9)),
    st.builds(Ended, st.integers(), st.floats(0, 9)),
)


@given(
    st.builds(Report, _TEXT, st.integers(), _EVENTS, st.lists(_TEXT).map(tuple), lossless=st.booleans()),
    st.none() | st.binary(max_size=300),
)
def test_a_report_survives_the_wire(report: Report, tail: bytes | None) -> None:
    sent = report._replace(tail=tail, file_bytes=None if tail is None else len(tail))
    assert Report.from_json(json.loads(json.dumps(sent.to_json()))) == sent


@given(st.none() | _TEXT, st.none() | st.integers(1))
def test_an_order_survives_the_wire(power_loss: str | None, times: int | None) -> None:
    order = Order(Rule("r", op="write", times=times), power_loss)
    assert Order.from_json(json.loads(json.dumps(order.to_json()))) == order
    assert order.lasts == (times is None)


@pytest.mark.parametrize(
    "data",
    [
        {"program": "w", "life": 0},
        {"program": "w", "life": 0, "happened": {}},
        {"program": "w", "life": 0, "lost": {"reason": "x"}},
        {"life": 0, "ended": {"life": 0, "t_s": 0}},
    ],
)
def test_a_report_that_makes_no_sense_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="report"):
        Report.from_json(data)


def test_an_order_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        Order.from_json({"rule": Rule("r", op="write").to_json()})
    with pytest.raises(ValueError, match="rule r"):
        Order.from_json({"rule": {"id": "r", "op": "read"}, "power_loss": None})


_WRITES = """
    f = os.open("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    done = 0
    for _ in range(4):
        try:
            os.write(f, b"row")
            done += 1
        except OSError:
            pass
    os._exit(done)
"""


def test_an_order_is_carried_out_in_one_life_only_though_it_is_given_again(beside: Callable[..., Beside]) -> None:
    order = Order(Rule("r", op="write", nth=2, when="before"))
    one = beside()
    lives = [one.live(_WRITES, order, life=life) for life in range(3)]
    assert [code for code, _ in lives] == [-9, 4, 4]
    assert [sum(isinstance(r.event, Fired) for r in reports) for _, reports in lives] == [1, 0, 0]


def test_a_fault_that_lasts_meets_each_call_of_the_next_life_until_it_is_healed(beside: Callable[..., Beside]) -> None:
    order = Order(Rule("r", op="write", nth=3, action="errno", errno="EIO", times=None))
    one = beside()
    first, told = one.live(_WRITES, order)
    second, silent = one.live(_WRITES, order, life=1)
    one.station.heal("r")
    third, _ = one.live(_WRITES, order, life=2)
    assert [first, second, third] == [2, 0, 4]
    assert [sum(isinstance(r.event, Fired) for r in reports) for reports in (told, silent)] == [1, 0]


def test_a_fault_that_lasts_is_healed_in_the_middle_of_a_life(beside: Callable[..., Beside]) -> None:
    one = beside()
    retrying = """
        f = os.open("f", os.O_CREAT | os.O_WRONLY)
        while True:
            try:
                os.write(f, b"row")
                os._exit(7)
            except OSError:
                pass
    """
    pid = one.start(retrying, Order(Rule("r", op="write", action="errno", errno="EIO", times=None)))
    while not any(isinstance(report.event, Fired) for report in one.reports):
        one.loop.turn()
    one.station.heal("r")
    while not isinstance(one.reports[-1].event, Ended):
        one.loop.turn()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_the_file_is_looked_at_while_its_call_is_held(beside: Callable[..., Beside]) -> None:
    order = Order(Rule("r", op="write", nth=3, when="inside", byte=2))
    _, reports = beside().live(_WRITES, order)
    (fired,) = [report for report in reports if isinstance(report.event, Fired)]
    assert (fired.file_bytes, fired.tail) == (8, b"rowrowro")


@pytest.mark.parametrize("made", ["os.symlink('/etc/hostname', 'f')", "os.mkfifo('p'); os.rename('p', 'f')"])
def test_what_is_no_file_is_not_looked_into(beside: Callable[..., Beside], made: str) -> None:
    code, reports = beside().live(made, Order(Rule("r", op="change", path="f", when="after")))
    (fired,) = [report for report in reports if isinstance(report.event, Fired)]
    assert (code, fired.file_bytes, fired.tail) == (-9, None, None)


def test_a_power_loss_takes_what_was_not_durable_once(beside: Callable[..., Beside], root: Path) -> None:
    one = beside(powered=True)
    source = """
        f = os.open("f", os.O_CREAT | os.O_WRONLY)
        os.write(f, b"kept"); os.fsync(f); os.fsync(os.open(".", os.O_RDONLY))
        os.write(f, b"lost"); os.mkdir("d")
    """
    order = Order(Rule("r", op="mkdir", when="before"), power_loss="min")
    _, reports = one.live(source, order)
    assert [report.lossless for report in reports if isinstance(report.event, Fired)] == [False]
    assert (root / "f").read_bytes() == b"keptlost"
    assert one.station.lose("w") is True
    assert (root / "f").read_bytes() == b"kept"
    assert one.station.lose("w") is False
    code, _ = one.live("open('f', 'ab').write(b'again')", order, life=1)
    assert (code, (root / "f").read_bytes()) == (0, b"keptagain")


def test_a_power_loss_that_would_lose_nothing_is_told_as_such(beside: Callable[..., Beside]) -> None:
    one = beside(powered=True)
    order = Order(Rule("r", op="mkdir", when="before"), power_loss="min")
    code, reports = one.live("os.mkdir('d')", order)
    assert [report.lossless for report in reports if isinstance(report.event, Fired)] == [True]
    assert (code, one.station.lose("w")) == (-9, False)


def test_states_are_told_where_they_are_asked_for(beside: Callable[..., Beside]) -> None:
    source = "f = os.open('f', os.O_CREAT | os.O_WRONLY); os.write(f, b'row'); os.fsync(f); os.fsync(os.open('.', 0))"
    _, asked = beside(surveyed=True).live(source)
    assert [report.states for report in asked if isinstance(report.event, Call)] == [
        ("min",),
        ("min", "dirs", "dirs+half"),
        ("min",),
        (),
    ]


def test_a_name_that_is_no_text_can_be_told_all_the_same(beside: Callable[..., Beside], root: Path) -> None:
    _, reports = beside(surveyed=True).live(r"open(b'caf\xe9', 'w').write('x'); open('a', 'w').write('y')")
    told = json.dumps([report.to_json() for report in reports], ensure_ascii=False).encode()
    assert told.count(rb"write:caf\\xe9#1") == 1
    assert told.count(rb"keep:caf\\xe9") == 2
    assert sorted(os.listdir(os.fsencode(root))) == [b"a", b"caf\xe9"]


def test_a_directory_that_cannot_be_followed_is_told_and_nobody_waits(beside: Callable[..., Beside]) -> None:
    one = beside(powered=True)
    pid = one.start("os.mkdir('d')", data=one.root / "not there")
    (report,) = one.reports
    assert isinstance(report.event, Lost)
    assert "cannot be followed" in report.event.reason
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) > 0


def test_a_failure_of_the_one_who_listens_leaves_no_call_held(root: Path) -> None:
    def refuse(report: Report) -> None:
        raise RuntimeError("the journal is gone")

    one = Beside(root)
    one.station = Station(refuse, one.loop.watch, one.loop.unwatch)
    pid = one.start("os.mkdir('d'); os.mkdir('e')")
    with pytest.raises(RuntimeError, match="the journal is gone"):
        while True:
            one.loop.turn()
    assert one.loop.callbacks == {}
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) > 0
    assert not (root / "e").exists()


def test_a_station_gives_back_every_descriptor(beside: Callable[..., Beside]) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    one = beside(surveyed=True)
    for life in range(3):
        one.live(_WRITES, Order(Rule("r", op="write", nth=2)), life=life)
    one.station.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("when", ["before it is greeted", "with the filter unread"])
def test_a_launcher_that_dies_at_the_door_is_an_end_and_no_error(tmp_path: Path, when: str) -> None:
    with Door(tmp_path / "door") as door:
        knocking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        knocking.connect(str(tmp_path / "door"))
        if when == "before it is greeted":
            knocking.close()
        with door.greet() as channel:
            knocking.close()
            assert receive(channel) == (b"", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as somebody else")
@pytest.mark.parametrize(
    ("uid", "capabilities", "may"),
    [
        pytest.param(0, -1, True, id="root"),
        pytest.param(0, 0, False, id="root whose capabilities were dropped"),
        pytest.param(200_000, 0, False, id="a user"),
        pytest.param(200_000, -1, True, id="the root of a user namespace"),
    ],
)
def test_rights_over_files_are_those_of_the_program(tmp_path: Path, uid: int, capabilities: int, may: bool) -> None:
    tmp_path.chmod(0o755)
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o755)
    os.chown(foreign, 300_000, 300_000)
    directory_fd = os.open(foreign, os.O_PATH)
    try:
        with acting_as(Credentials(uid, uid, (uid,), 0o022, capabilities & (1 << 41) - 1)):
            os.mkdir("new", dir_fd=directory_fd)
    except PermissionError:
        assert not may
    else:
        assert may
        assert (foreign / "new").stat().st_uid == uid
    finally:
        os.close(directory_fd)
    os.chown(foreign, 0, 0)
