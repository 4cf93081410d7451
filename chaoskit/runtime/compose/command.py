"""`docker compose` as a subprocess: what it prints is heard line by line, it has a time limit, it ends when cancelled.

It knows no scenario and no transformation. Compose is always started in a session of its own, so that a Ctrl-C at the
terminal is for chaoskit to pass on, once, and not for both at the same time.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chaoskit.model.errors import EnvironmentProblem, UsageError
from chaoskit.runtime.compose import engine
from chaoskit.runtime.compose.uncancelled import to_its_end, together
from chaoskit.runtime.processes import MARK, owned

_CONFIG_S = 60.0
# How long Compose may take to end by itself once it was interrupted.
_GRACE_S = 15.0
_READ_BYTES = 65536
_LINE_BYTES = 1024 * 1024
_KEPT_LINES = 200
_SHOWN_LINES = 6
_TERMINAL_CODE = re.compile(r"\r|\x1b\[[0-9;?]*[A-Za-z]")
_WARNING = re.compile(r'^time="[^"]*" level=(?:warning|info|debug) ')
# `#5 0.167 text` of a build that goes on, `0.167 text` where it repeats the step that failed.
_BUILD_LINE = re.compile(r"^(?:#\d+ )?(?:\d+\.\d+ )?")
_RULE = re.compile(r"^-{4,}$")

OnLine = Callable[[str], None]


class Files(NamedTuple):
    """A user's Compose project: files in the order in which they override each other, all paths absolute."""

    files: tuple[Path, ...]
    profiles: tuple[str, ...] = ()
    env_files: tuple[Path, ...] = ()

    def options(self) -> list[str]:
        """The options that `docker compose` takes before its command."""
        named = [("--file", str(path)) for path in self.files]
        named += [("--env-file", str(path)) for path in self.env_files]
        named += [("--profile", name) for name in self.profiles]
        return [word for pair in named for word in pair]


async def resolve(files: Files, environment: Mapping[str, str]) -> dict[str, Any]:
    """The project as Compose understands it, for `project.transform`; `environment` fills its ${VARIABLES}.

    All services are in it; `profiles` is left only in those that Compose would not start with the profiles of `files`.
    Raises UsageError when Compose refuses the files, EnvironmentProblem when it does not work.
    """
    for path in (*files.files, *files.env_files):
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file; mend `compose` in the scenario")
    all_on = files._replace(profiles=("*",))
    # A gather of asyncio's would not wait for the second Compose when the first one is interrupted.
    started, everything = await together(_config(files, environment), _config_or_none(all_on, environment))
    assert started is not None
    # A service that is off may be in a state that Compose refuses: then it is as if it were not there.
    document: dict[str, Any] = everything or started
    for name in started["services"]:
        document["services"][name].pop("profiles", None)
    if not document["services"]:
        raise UsageError(f"{files.files[0]}: there are no services in it")
    return document


async def _config_or_none(files: Files, environment: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        return await _config(files, environment)
    except (UsageError, EnvironmentProblem):
        return None


async def _config(files: Files, environment: Mapping[str, str]) -> dict[str, Any]:
    name = files.files[0].name
    arguments = [*files.options(), "config", "--format", "json"]
    try:
        out = await _run(arguments, environment, b"", None, _CONFIG_S, f"reading {name}")
    except _Failed as e:
        if problem := await asyncio.to_thread(engine.compose_problem):
            raise EnvironmentProblem(problem) from None
        raise UsageError(f"{files.files[0]}: Compose refuses it: {_last_words(e.lines)}") from None
    try:
        document: dict[str, Any] = _unescaped(json.loads(out))
        return {**document, "services": document.get("services") or {}}
    except (ValueError, TypeError, AttributeError):
        problem = f"reading {name}: Compose gave no JSON: look what `docker compose config` says"
        raise EnvironmentProblem(problem) from None


def missing(document: Mapping[str, Any]) -> frozenset[str]:
    """The sources of a project's bind mounts that hold nothing on this machine: not there, or an empty directory.

    Empty where the engine is on another machine, whose files cannot be seen from here.
    """
    if not engine.is_local():
        return frozenset()
    mounts = [mount for service in document["services"].values() for mount in service.get("volumes") or ()]
    sources = {str(mount["source"]) for mount in mounts if mount.get("type") == "bind"}
    return frozenset(source for source in sources if _holds_nothing(Path(source)))


def _holds_nothing(path: Path) -> bool:
    try:
        return not path.exists() or (path.is_dir() and not any(path.iterdir()))
    except OSError:
        return False


def _unescaped(value: Any) -> Any:
    """Compose doubles each dollar sign of what it prints; here they are single again."""
    if isinstance(value, dict):
        return {name.replace("$$", "$"): _unescaped(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_unescaped(inner) for inner in value]
    return value.replace("$$", "$") if isinstance(value, str) else value


def escaped(value: Any) -> Any:
    """The reverse, for a file that Compose reads: it takes variables from values, not from names."""
    if isinstance(value, Mapping):
        return {name: escaped(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [escaped(inner) for inner in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


async def compose(
    name: str,
    document: Mapping[str, Any],
    arguments: Sequence[str],
    *,
    origin: Files,
    environment: Mapping[str, str],
    on_line: OnLine,
    timeout_s: float,
    doing: str,
) -> None:
    """`docker compose ARGUMENTS` on the project `document` under the name `name`; each line of progress to `on_line`.

    `origin` is where the project came from: variables that it takes from its .env files are looked up there again.
    Raises EnvironmentProblem that says what went wrong while we were `doing` it, with the last lines of a build.
    """
    options = ["--project-name", name, "--project-directory", str(origin.files[0].parent), "--file", "-"]
    options += [word for path in origin.env_files for word in ("--env-file", str(path))]
    stdin = json.dumps(escaped(document)).encode()
    # By these a Compose that goes on making things after we were killed is found, and ended, before they are removed.
    marks = {MARK: name, **owned(), "CHAOSKIT_PROGRAM": "docker compose"}
    try:
        await _run([*options, *arguments], {**environment, **marks}, stdin, on_line, timeout_s, doing)
    except _Failed as e:
        raise _failure(e.lines, doing) from None


class _Failed(Exception):
    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__()
        self.lines = lines


async def _run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: bytes,
    on_line: OnLine | None,
    timeout_s: float,
    doing: str,
) -> str:
    """What Compose wrote to its standard output, when it is no progress (`on_line` is None); raises _Failed."""
    try:
        process = await _started(arguments, environment)
    except OSError as e:
        raise EnvironmentProblem(f"{doing}: {engine.unavailable() or f'docker: {e.strerror}'}") from None
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        async with asyncio.timeout(timeout_s):
            out = await _talk(process, stdin, lines, on_line)
    except TimeoutError:
        problem = f"{doing}: Compose was not done after {timeout_s:g} s; its last words: {_last_words(lines)}"
        raise EnvironmentProblem(problem) from None
    finally:
        await _end(process)
    if process.returncode != 0:
        raise _Failed(lines)
    return out


async def _started(arguments: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            "docker",
            "compose",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**engine.environment(), **environment},
            start_new_session=True,
            limit=_LINE_BYTES,
        )
    )
    try:
        return await to_its_end(starting)
    except asyncio.CancelledError:
        # asyncio would end `docker` and not the plugin that it has started, which does the work.
        await _end(starting.result())
        raise


async def _talk(process: asyncio.subprocess.Process, stdin: bytes, lines: deque[str], on_line: OnLine | None) -> str:
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    kept: list[bytes] = []

    def hear(text: str) -> None:
        lines.append(text)
        if on_line is not None:
            on_line(text)

    out = _lines(process.stdout, hear) if on_line is not None else _all(process.stdout, kept)
    talk = asyncio.gather(_feed(process.stdin, stdin), out, _lines(process.stderr, hear))
    try:
        await talk
    finally:
        talk.cancel()
    await process.wait()
    return b"".join(kept).decode("utf-8", "replace")


async def _feed(stream: asyncio.StreamWriter, data: bytes) -> None:
    # Compose that ends before it has read everything says why itself.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


async def _all(stream: asyncio.StreamReader, kept: list[bytes]) -> None:
    while data := await stream.read(_READ_BYTES):
        kept.append(data)


async def _lines(stream: asyncio.StreamReader, hear: OnLine) -> None:
    rest = b""
    while data := await stream.read(_READ_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            if text := _plain(line):
                hear(text)
        rest = rest[-_LINE_BYTES:]
    if text := _plain(rest):
        hear(text)


def _plain(line: bytes) -> str:
    text = _TERMINAL_CODE.sub("", line.decode("utf-8", "replace")).strip()
    return "" if _WARNING.match(text) else text


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for a Compose that is done; one that is not is interrupted once, and killed when that does not help.

    It is waited for also when this is cancelled again: what it makes after we have cleaned up would stay.
    """
    if process.returncode is None:
        _signal(process, signal.SIGINT)
    ending = asyncio.ensure_future(_ended(process))
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            _signal(process, signal.SIGKILL)


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


# --- what it says when it fails ---


def _failure(lines: Sequence[str], doing: str) -> EnvironmentProblem:
    said = _last_words(lines)
    step = _failed_step(lines)
    if step:
        return EnvironmentProblem(f"{doing}: {said}; the last lines of the build: {' | '.join(step)}")
    return engine.problem_in(said, doing)


def _last_words(lines: Sequence[str]) -> str:
    return lines[-1] if lines else "it said nothing"


def _failed_step(lines: Sequence[str]) -> list[str]:
    """The last lines of the step of a build that failed: what stands between the last two rules."""
    rules = [index for index, line in enumerate(lines) if _RULE.match(line)]
    if len(rules) < 2:
        return []
    inside = [lines[index] for index in range(rules[-2] + 1, rules[-1])]
    return [_BUILD_LINE.sub("", line) for line in inside if not line.startswith("> [")][-_SHOWN_LINES:]
