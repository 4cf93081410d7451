"""Guesses from a Compose project: which services are programs, who is hurt, who judges, where the data is.

Pure. A guess is a default for a question and a line with a remark in the file, so it may be wrong; it is never silent.
"""

import re
from collections.abc import Callable, Collection, Sequence

from chaoskit.engine.drafting.draft import Draft, DraftProgram
from chaoskit.engine.drafting.reading import Mount, Project, Service
from chaoskit.model.errors import UsageError
from chaoskit.model.scenario import Restart, Scalar
from chaoskit.runtime.compose import selection

_DATA_DIR = "/app/worker-data"
# What a service is called, as far as names tell: who judges, who sends, who works.
_JUDGES = re.compile(r"verif|check|judge|assert|validat|audit|result|sink|collect", re.I)
_SENDS = re.compile(r"test|runner|produc|publish|sender|client|generat|load|seed|source|feed", re.I)
_WORKS = re.compile(r"work|consum|process|handl|aggregat|count", re.I)
_INPUT = re.compile(r"(^|_)(IN|INPUT|CONSUME|SOURCE|SRC|FROM|LISTEN)(_|$)", re.I)
_OUTPUT = re.compile(r"(^|_)(OUT|OUTPUT|PUBLISH|PRODUCE|DEST|DESTINATION|TARGET|TO|RESULT|RESULTS)(_|$)", re.I)
_HOW_MANY = re.compile(r"EXPECT|(^|_)(NUM|COUNT|TOTAL|N)(_|$)", re.I)
_DATA_VARIABLE = re.compile(r"DATA|STATE|STORE|STORAGE|PERSIST", re.I)
# Images that others run beside their own programs.
_BACKING = re.compile(
    "postgres|mysql|mariadb|mongo|redis|valkey|memcached|minio|zookeeper|kafka|elasticsearch|opensearch|prometheus|"
    "grafana|nginx|traefik|haproxy|adminer|jaeger|rabbitmq|lavinmq|consul|etcd|vault|nats|influxdb|clickhouse"
)
_RESTARTS = ("always", "unless-stopped", "on-failure", "any")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def draft_of(
    project: Project,
    name: str,
    target: str | None = None,
    verifier: str | None = None,
    broker_service: str | None = None,
) -> Draft:
    """The draft of a scenario for `project`; what is given stays as it is.

    Raises UsageError for a service that there is not, and where no service looks like a program.
    """
    on = [service for service in project.services if service.on]
    for option, given in (("--target", target), ("--verifier", verifier), ("--broker", broker_service)):
        if given is not None:
            _check_service(on, given, option)
    broker, remark = (broker_service, "") if broker_service else _broker(project, on)
    programs = _programs(on, broker, {target, verifier} - {None})
    if not programs:
        raise UsageError("no service of the Compose file looks like a program of yours: name one with --target")
    judge = verifier or _best(programs, _as_verifier, {target})
    hurt = target or _best(programs, _as_target, {judge})
    restart, why = _restart(programs, hurt)
    return Draft(
        name,
        programs=tuple(_program(service, programs, broker) for service in programs),
        target=hurt,
        verifier=judge,
        expect_hint=_how_many(next((s for s in programs if s.name == judge), programs[0])),
        parameters=_parameters(programs),
        broker_service=broker_service,
        broker_candidates=tuple(s.name for s in on if s not in programs) if remark else (),
        broker=broker is not None or bool(remark),
        restart=restart,
        remarks={"broker": remark, "restart": why, "programs": _others(project, programs, broker)},
    )


def _check_service(on: Sequence[Service], name: str, option: str) -> None:
    names = [service.name for service in on]
    if name not in names:
        raise UsageError(f"{option} {name}: there is no such service (services: {', '.join(names) or 'none'})")


def _broker(project: Project, on: Sequence[Service]) -> tuple[str | None, str]:
    """The service that is the broker, or why nobody can say."""
    services = {service.name: project.document["services"][service.name] for service in on}
    try:
        return selection.broker_of(services, (), None), ""
    except UsageError as e:
        return None, str(e) if "both look like" in str(e) else ""


# --- programs ---


def _programs(on: Sequence[Service], broker: str | None, named: Collection[str | None]) -> list[Service]:
    """Those that are built or speak to the broker, but for what is known to be somebody else's."""
    ours = [s for s in on if s.name in named or (s.name != broker and _is_ours(s, broker))]
    built = {s.image for s in ours if s.builds and s.image}
    return [s for s in on if s in ours or (s.image in built and s.name != broker)]


def _is_ours(service: Service, broker: str | None) -> bool:
    base = service.image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    if _drives_docker(service):
        return False
    return service.builds or (not _BACKING.fullmatch(base) and (broker is None or _speaks_to(service, broker)))


def _drives_docker(service: Service) -> bool:
    """Whether it has the engine's socket, as a supervisor that starts containers again has."""
    return any(mount.target.endswith("docker.sock") for mount in service.mounts)


def _speaks_to(service: Service, broker: str) -> bool:
    return broker in service.after or any(_names(broker, value) for value in service.environment.values())


def _names(broker: str, value: str) -> bool:
    """Whether a value is the broker's name, or an address or URL with it."""
    return re.search(rf"(?<![\w.-]){re.escape(broker)}(?![\w.-])", value) is not None


def _program(service: Service, programs: Sequence[Service], broker: str | None) -> DraftProgram:
    names = [other.name for other in programs]
    data = _data(service)
    remarks = [f"its files are in {_described(data)}"] if data else []
    if broker and (called := [name for name, value in service.environment.items() if _names(broker, value)]):
        remarks.append(f"finds the broker by {', '.join(called)}")
    after = tuple(name for name in names if name in service.after)
    return DraftProgram(service.name, None, data.target if data else None, after, "; ".join(remarks))


def _data(service: Service) -> Mount | None:
    """The mount that its data is in: the one that its environment names, else a volume, else a directory."""
    written = [m for m in service.mounts if not m.read_only and m.kind in ("volume", "bind") and _is_directory(m)]
    named = {value.rstrip("/") for name, value in service.environment.items() if _DATA_VARIABLE.search(name)}
    written.sort(key=lambda m: (m.target.rstrip("/") not in named, m.target != _DATA_DIR, m.kind != "volume"))
    return written[0] if written else None


def _is_directory(mount: Mount) -> bool:
    last = mount.target.rpartition("/")[2]
    return not last.endswith((".sock", ".py", ".conf", ".yaml", ".yml", ".json", ".toml", ".ini", ".env"))


def _described(mount: Mount) -> str:
    return f"the volume {mount.source}" if mount.kind == "volume" and mount.source else "a directory that is mounted"


def _others(project: Project, programs: Sequence[Service], broker: str | None) -> str:
    names = {service.name for service in programs}
    backing = [s.name for s in project.services if s.on and s.name not in names and s.name != broker]
    off = [s.name for s in project.services if not s.on]
    parts = [f"{broker} is the broker"] if broker else []
    parts += [f"{', '.join(backing)} only brought up"] if backing else []
    parts += [f"{', '.join(off)} off (profiles)"] if off else []
    return "; ".join(parts)


# --- roles ---


def _best(programs: Sequence[Service], score: Callable[[Service], int], taken: Collection[str | None]) -> str:
    free = [service for service in programs if service.name not in taken] or list(programs)
    return max(free, key=score).name


def _as_target(service: Service) -> int:
    points = 3 if _data(service) else 0
    points += 2 if _WORKS.search(service.name) else 0
    points -= 3 if _SENDS.search(service.name) or _JUDGES.search(service.name) else 0
    return points + (2 if _has(_INPUT, service) and _has(_OUTPUT, service) else 0)


def _as_verifier(service: Service) -> int:
    points = 4 if _JUDGES.search(service.name) else 0
    points += 3 if _has(_INPUT, service) and not _has(_OUTPUT, service) else 0
    points -= 3 if _SENDS.search(service.name) else 0
    return points - (2 if _data(service) else 0)


def _has(pattern: re.Pattern[str], service: Service) -> bool:
    """Whether a variable that names a queue, a topic or an exchange is one of these."""
    queues = [name for name in service.environment if re.search("QUEUE|TOPIC|EXCHANGE|ROUTING|STREAM", name, re.I)]
    return any(pattern.search(name) for name in queues)


def _restart(programs: Sequence[Service], target: str) -> tuple[Restart, str]:
    policy = next((s.restart for s in programs if s.name == target), "")
    if policy.partition(":")[0] in _RESTARTS:
        return "engine", f": Docker, by `restart: {policy}` of the project; or chaoskit, or none"
    return "chaoskit", "; or engine (a policy or a supervisor of the project), or none"


def _parameters(programs: Sequence[Service]) -> dict[str, Scalar]:
    """Numbers that the project takes from outside, the same one wherever it stands: else none is the right one."""
    found: dict[str, set[str]] = {}
    for service in programs:
        for name, value in service.environment.items():
            found.setdefault(name, set()).add(service.variables.get(name, f"fixed: {value}"))
    alike = {name: values.pop() for name, values in found.items() if len(values) == 1 and _PARAMETER.fullmatch(name)}
    return {name: int(value) for name, value in alike.items() if not value.startswith("fixed: ")}


def _how_many(verifier: Service) -> str:
    """Variables of the verifier that look as if they said how many verdicts there will be."""
    found = [f"{n}={v}" for n, v in verifier.environment.items() if _HOW_MANY.search(n) and v.isdecimal()]
    return ", ".join(found)
