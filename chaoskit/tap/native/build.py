"""Makes the two executables from launcher.c, the same bytes on every machine, and writes down what they come from.

    pip install -e '.[launchers]'
    python -m chaoskit.tap.native.build

The compiler is Zig's clang at a pinned version, which builds for both machines from any. `manifest.json` holds the
digests of source and executables, so that a test without a compiler sees a source that was changed and not built.
"""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ZIG_VERSION = "0.17.1"
FOLDER = Path(__file__).parent
SOURCE = FOLDER / "launcher.c"
MANIFEST = FOLDER / "manifest.json"
# Each machine with the folder of its kernel headers: those are all that is included, there is no C library.
MACHINES = {"x86_64": "x86-linux-any", "aarch64": "aarch64-linux-any"}
FLAGS = (
    "-std=c11", "-Os", "-s", "-static", "-nostdlib", "-ffreestanding", "-fno-ident", "-fno-stack-protector",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-sanitize=all", "-Wl,-z,noexecstack",
    "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic",
)  # fmt: skip


def compiler_missing() -> str | None:
    """None when the pinned compiler is installed, else one line that says what to do."""
    if importlib.util.find_spec("ziglang") is None:
        return f"ziglang is not installed: pip install ziglang=={ZIG_VERSION}"
    found = subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True, text=True, check=True)
    if found.stdout.strip() != ZIG_VERSION:
        return f"ziglang is {found.stdout.strip()}: pip install ziglang=={ZIG_VERSION}"
    return None


def compile_launcher(machine: str, source: Path = SOURCE) -> bytes:
    """The executable for one of MACHINES. Raises subprocess.CalledProcessError when the source does not compile."""
    spec = importlib.util.find_spec("ziglang")
    assert spec is not None and spec.submodule_search_locations, "ask compiler_missing first"
    headers = Path(spec.submodule_search_locations[0], "lib", "libc", "include")
    includes = [part for name in (MACHINES[machine], "any-linux-any") for part in ("-isystem", str(headers / name))]
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-musl"]
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "launcher")
        # The caller's settings (CPATH, CFLAGS...) and an old cache shall not decide what is built.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": folder}
        environment |= {f"ZIG_{kind}_CACHE_DIR": str(Path(folder, kind)) for kind in ("LOCAL", "GLOBAL")}
        command = [*compiler, *FLAGS, *includes, "-o", str(built), str(source)]
        subprocess.run(command, env=environment, check=True)
        return built.read_bytes()


def digests() -> dict[str, str]:
    """SHA-256 of the source and of the executables beside it, by file name."""
    names = [SOURCE.name, *(f"launcher-{machine}" for machine in MACHINES)]
    return {name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in names}


def manifest() -> dict[str, object]:
    """What manifest.json has to say about the files as they are."""
    return {"compiler": f"ziglang {ZIG_VERSION}", "flags": list(FLAGS), "sha256": digests()}


def main() -> int:
    """Build and write both executables and the manifest; the exit code."""
    if (problem := compiler_missing()) is not None:
        sys.stderr.write(f"build: {problem}\n")
        return 3
    try:
        executables = {f"launcher-{machine}": compile_launcher(machine) for machine in MACHINES}
    except subprocess.CalledProcessError:
        sys.stderr.write(f"build: {SOURCE} does not compile; nothing was changed\n")
        return 1
    for name, executable in executables.items():
        (FOLDER / name).write_bytes(executable)
        (FOLDER / name).chmod(0o755)
        sys.stdout.write(f"{name}: {len(executable)} bytes\n")
    MANIFEST.write_text(json.dumps(manifest(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
