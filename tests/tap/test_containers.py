"""The whole tap in real containers: the same crash points, bytes, owners and errors as on one machine.

The Station is in a container beside the targets. Targets share a volume with it, read-only, and nothing else.
"""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.tap import Lost, Order, Rule

from .conftest import run
from .containers import (
    BROKER_PORT,
    DATA,
    LAUNCHER,
    Agent,
    Life,
    Rig,
    docker,
    engine_problem,
    exit_code,
    live,
    output_of,
)

_REQUIRE = "CHAOSKIT_REQUIRE_DOCKER"
_PROGRAM = Path(__file__).with_name("container_program.py")
_USER = ("--user", "1000:1000")
# How a target runs, its umask, and who owns the data directory.
_TARGETS = {
    "as root": ((), "022", 1000),
    "as a user": (_USER, "027", 1000),
    "in a group": (("--user", "1001:1001", "--group-add", "1000"), "007", 1000),
    "with nothing to write to": ((*_USER, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"), "022", 1000),
    "as root without rights": (("--cap-drop", "ALL"), "000", 0),
    "behind an init": (("--init",), "077", 1000),
}


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """Containers that are gone in the end; skips where no engine answers, fails with CHAOSKIT_REQUIRE_DOCKER=1."""
    problem = engine_problem()
    if problem is not None and os.environ.get(_REQUIRE) == "1":
        pytest.fail(f"{_REQUIRE}=1 and no engine: {problem}")
    if problem is not None:
        pytest.skip(problem)
    made = Rig()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def station(rig: Rig) -> Agent:
    """An agent that lives as long as the tests."""
    return rig.agent(_PROGRAM)


@pytest.fixture
def agent(station: Agent) -> Agent:
    """The agent at the beginning of a run, the data directory empty and of user 1000."""
    station.ask("begin", owner=1000)
    return station


def test_the_tap_works_in_the_agents_container(station: Agent) -> None:
    assert station.unavailable is None


@pytest.mark.parametrize(("target", "folder"), [*((target, DATA) for target in _TARGETS), ("as a user", ".")])
def test_crash_points_are_those_of_a_local_run_and_files_those_without_a_tap(
    rig: Rig, station: Agent, root: Path, target: str, folder: str
) -> None:
    options, umask, owner = _TARGETS[target]
    options += ("--workdir", DATA) if folder == "." else ()
    arguments = ("everything", folder, umask)
    station.ask("begin", owner=owner)
    alone = rig.start(*arguments, options=options, before=())
    assert exit_code(alone) == 0, output_of(alone)
    expected = station.ask("files")
    station.ask("begin", owner=owner)

    ended = live(rig, station, *arguments, options=options)

    assert (ended.code, ended.output) == (0, "")
    assert station.ask("files") == expected
    here = run([sys.executable, "-I", "-S", str(_PROGRAM), "everything", str(root), umask], root)
    assert here.code == 0, here.output
    assert ended.points == here.points


def test_a_program_that_becomes_a_user_by_itself_makes_its_files_as_that_user(rig: Rig, agent: Agent) -> None:
    become = ("setpriv", "--reuid", "1001", "--regid", "1001", "--groups", "1000")
    arguments = ("everything", DATA, "037")
    alone = rig.start(*arguments, before=become)
    assert exit_code(alone) == 0, output_of(alone)
    expected = agent.ask("files")
    agent.ask("begin", owner=1000)
    ended = live(rig, agent, *arguments, before=(*LAUNCHER, *become))
    assert ended.code == 0, ended.output
    assert agent.ask("files") == expected
    assert expected["state"][1] == 1001


@pytest.mark.parametrize("options", [(), ("--cap-drop", "ALL"), ("--user", "1001:1001")])
def test_what_a_program_may_not_do_alone_it_may_not_do_under_the_tap(
    rig: Rig, agent: Agent, options: tuple[str, ...]
) -> None:
    alone = rig.start("rows", DATA, options=options, before=())
    code, output = exit_code(alone), output_of(alone)
    agent.ask("begin", owner=1000)
    ended = live(rig, agent, "rows", DATA, options=options)
    assert (ended.code, ended.output) == (code, output)


@pytest.mark.parametrize("options", [(), _USER], ids=["root", "user"])
@pytest.mark.parametrize(
    ("when", "byte", "left"), [("before", None, ""), ("inside", 5, "1,012"[:5]), ("after", None, "1,0123456789\n")]
)
def test_a_kill_leaves_exactly_the_bytes_that_were_let_through(
    rig: Rig, agent: Agent, options: tuple[str, ...], when: str, byte: int | None, left: str
) -> None:
    rule = Rule("r", op="write", path="rows.csv", nth=2, when=when, byte=byte)
    ended = live(rig, agent, "rows", DATA, orders=(Order(rule),), options=options)
    assert ended.code == 137
    content = "0,0123456789\n" + left
    owner = 0 if not options else 1000
    assert agent.ask("files") == {"rows.csv": ["0o100644", owner, 1000, content]}
    (fired,) = ended.fired
    assert fired.event.point == "worker/0/write:rows.csv#2" + ("@5" if byte else "")
    assert (fired.file_bytes, fired.tail) == (len(content), content.encode())


def test_errors_and_short_writes_reach_the_program(rig: Rig, agent: Agent) -> None:
    orders = (
        Order(Rule("full", op="write", path="f", action="errno", errno="ENOSPC")),
        Order(Rule("short", op="write", path="f", nth=2, action="short", byte=4)),
    )
    ended = live(rig, agent, "errors", DATA, orders=orders, options=_USER)
    assert (ended.code, ended.output) == (0, "No space left on device\n10\n4\n")
    assert agent.ask("files")["f"][3] == "01234567890123"


def test_a_fault_that_lasts_goes_on_in_the_next_life_until_it_is_healed(rig: Rig, agent: Agent) -> None:
    order = Order(Rule("r", op="write", path="f", nth=2, action="errno", errno="EIO", times=None))
    first = live(rig, agent, "errors", DATA, orders=(order,))
    second = live(rig, agent, "errors", DATA, orders=(order,), life=1)
    agent.ask("heal", order="r")
    third = live(rig, agent, "errors", DATA, orders=(order,), life=2)
    wrong = "Input/output error\n"
    assert [life.output for life in (first, second, third)] == ["10\n" + wrong * 2, wrong * 3, "10\n" * 3]
    assert [len(life.fired) for life in (first, second, third)] == [1, 0, 0]


@pytest.mark.parametrize("options", [(), _USER], ids=["root", "user"])
def test_a_power_loss_is_played_between_two_lives(rig: Rig, agent: Agent, options: tuple[str, ...]) -> None:
    agent.ask("begin", owner=1000, powered=True)
    order = Order(Rule("r", op="mkdir", path="late", when="after"), power_loss="min")
    first = live(rig, agent, "cache", DATA, orders=(order,), options=options)
    assert (first.code, first.fired[0].lossless) == (137, False)
    assert sorted(agent.ask("files")) == ["late", "lost", "safe"]
    assert agent.ask("lose") is True
    assert agent.ask("lose") is False
    owner = 0 if not options else 1000
    assert agent.ask("files") == {
        "lost": ["0o100640", owner, 1000, ""],
        "safe": ["0o100640", owner, 1000, "safe"],
    }
    second = live(rig, agent, "rows", DATA, orders=(order,), life=1, options=options)
    assert second.code == 0
    assert second.points[:2] == ["create:rows.csv#1", "write:rows.csv#1"]


def test_surveyed_calls_tell_what_a_power_loss_could_leave(rig: Rig, agent: Agent) -> None:
    agent.ask("begin", owner=1000, surveyed=True)
    ended = live(rig, agent, "rows", DATA)
    states = {point: report.states for point, report in zip(ended.points, ended.reports, strict=False)}
    assert states["write:rows.csv#1"] == ("min", "dirs", "dirs+half")
    assert states["fsync:rows.csv#1"] == ("min",)


@pytest.mark.parametrize("known", ["by its name", "by its address", "by one of its addresses"])
def test_sends_are_those_to_the_broker_as_the_program_sees_it(rig: Rig, agent: Agent, known: str) -> None:
    address = rig.address_of(agent)
    brokers = {
        "by its name": (("rabbitmq", BROKER_PORT),),
        "by its address": ((address, BROKER_PORT),),
        "by one of its addresses": (("192.0.2.1", BROKER_PORT), (address, BROKER_PORT)),
    }
    order = Order(Rule("r", op="send", path="broker", nth=2, when="inside", byte=2))
    environment = ("--env", "BROKER=rabbitmq")
    ended = live(rig, agent, "publish", DATA, orders=(order,), broker=brokers[known], options=environment)
    assert (ended.code, ended.points) == (137, ["send:broker#1"])
    assert agent.next("received") == "one,tw"


def test_a_send_to_another_address_is_none_to_the_broker(rig: Rig, agent: Agent) -> None:
    elsewhere = (("192.0.2.1", BROKER_PORT),)
    ended = live(rig, agent, "publish", DATA, broker=elsewhere, options=("--env", "BROKER=rabbitmq"))
    assert (ended.code, ended.points) == (0, [])
    assert agent.next("received") == "one,two,three"


def test_the_data_directory_may_be_named_through_a_link_that_only_the_program_has(rig: Rig, agent: Agent) -> None:
    link = ("sh", "-c", f'ln -s {DATA} /data-link && exec "$@"', "sh", *LAUNCHER)
    rule = Rule("r", op="write", path="rows.csv", nth=2, when="inside", byte=1)
    ended = live(rig, agent, "rows", "/data-link", orders=(Order(rule),), root="/data-link", before=link)
    assert (ended.code, ended.points[0]) == (137, "create:rows.csv#1")
    assert agent.ask("files")["rows.csv"][3] == "0,0123456789\n1"


def test_the_data_directory_may_be_made_by_the_program_itself(rig: Rig, agent: Agent) -> None:
    made = f"{DATA}/state/of/mine"
    making = (*LAUNCHER, "sh", "-c", f'mkdir -p {made} && exec "$@"', "sh")
    rule = Rule("r", op="write", path="rows.csv", nth=2, when="inside", byte=1)
    data = "/data/state/of/mine"
    ended = live(rig, agent, "rows", made, orders=(Order(rule),), root=made, data=data, before=making)
    assert (ended.code, ended.points) == (137, ["create:rows.csv#1", "write:rows.csv#1", "fsync:rows.csv#1"])
    assert ended.fired[0].tail == b"0,0123456789\n1"


def test_a_data_directory_in_the_containers_own_layer_is_watched_too(rig: Rig, agent: Agent) -> None:
    rule = Rule("r", op="write", path="rows.csv", nth=2, when="inside", byte=1)
    ended = live(rig, agent, "rows", "/var/tmp", orders=(Order(rule),), root="/var/tmp", data="/nowhere")
    assert ended.code == 137
    assert ended.points == ["create:rows.csv#1", "write:rows.csv#1", "fsync:rows.csv#1"]
    assert ended.fired[0].file_bytes is None


def test_a_data_directory_that_the_agent_does_not_see_is_an_error_where_power_loss_is_followed(
    rig: Rig, agent: Agent
) -> None:
    agent.ask("begin", owner=1000, powered=True)
    agent.ask("expect", orders=[], root="/var/tmp", data="/nowhere", life=0, broker=[])
    container = rig.start("endless", "/var/tmp")
    reason = agent.next("report")["lost"]["reason"]
    assert reason.startswith("the data directory of worker cannot be followed: ")
    assert "/nowhere" in reason
    assert exit_code(container) != 0


def test_a_launcher_that_finds_nobody_ends_with_one_line(rig: Rig, agent: Agent) -> None:
    nobody = ("python", "/tap/launcher.py", "--socket", "/tap/nobody", "--")
    container = rig.start("rows", DATA, before=nobody)
    assert exit_code(container) == 125
    (line,) = output_of(container).splitlines()
    assert line.startswith("launcher: cannot start python under the tap at /tap/nobody: ")


def test_an_agent_that_dies_leaves_errors_and_nobody_waiting(rig: Rig) -> None:
    other = Rig()
    try:
        agent = other.agent(_PROGRAM)
        agent.ask("begin", owner=0)
        agent.ask("expect", orders=[], root=DATA, data="/data", life=0, broker=[])
        held = other.start("endless", DATA)
        agent.next("report")
        assert agent.ask("stall") == "stalled"
        # From here on each call of the program is held for good.
        docker("kill", agent.container)
        assert exit_code(held) == errno.ENOSYS
        # Its socket is still in the volume, and nobody listens at it.
        late = other.start("rows", DATA)
        assert exit_code(late) == 125
        assert "Connection refused" in output_of(late)
    finally:
        other.close()


_RIGHTS = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SYS_PTRACE"]
_HOST = ("--pid", "host")


def _with_rights(*names: str) -> tuple[str, ...]:
    return ("--cap-drop", "ALL", *(word for name in names for word in ("--cap-add", name)))


def _one_power_loss(options: tuple[str, ...], target: tuple[str, ...]) -> tuple[Life, bool | None]:
    """A life that is to end with a power loss, under an agent with these options; what the volume lost."""
    rig = Rig()
    try:
        agent = rig.agent(_PROGRAM, options)
        agent.ask("begin", owner=1000, powered=True)
        order = Order(Rule("r", op="mkdir", path="late", when="after"), power_loss="min")
        ended = live(rig, agent, "cache", DATA, orders=(order,), options=target)
        return ended, agent.ask("lose")
    finally:
        rig.close()


def test_the_named_rights_are_enough_for_an_agent(rig: Rig) -> None:
    ended, lost = _one_power_loss((*_HOST, *_with_rights(*_RIGHTS)), _USER)
    assert (ended.code, lost) == (137, True)
    assert [report for report in ended.reports if isinstance(report.event, Lost)] == []


@pytest.mark.parametrize("missing", ["SYS_PTRACE", "SETGID", "pid: host"])
def test_an_agent_that_lacks_a_right_says_so_once_and_the_program_goes_on(rig: Rig, missing: str) -> None:
    rights = _with_rights(*(name for name in _RIGHTS if name != missing))
    ended, lost = _one_power_loss(rights if missing == "pid: host" else (*_HOST, *rights), _USER)
    assert (ended.code, ended.points, lost) == (0, [], False)
    (report,) = [report for report in ended.reports if isinstance(report.event, Lost)]
    assert missing in report.event.reason
    assert "\n" not in report.event.reason
