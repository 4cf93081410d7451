"""Where the program `chaoskit` begins: an interrupt during its imports is as quiet as one at any later moment.

It parses nothing and imports nothing heavy: that is what it has to be ahead of.
"""

import os
import signal
from typing import Never

from chaoskit.model.exit_codes import ExitCode


def _leave(*_: object) -> Never:
    # Nothing was started yet, and no exception could be raised that every half-done import would let through.
    os.write(2, b"chaoskit: interrupted\n")
    os._exit(int(ExitCode.INTERRUPTED))


def main() -> None:
    """Entry point. Ends the process with one of the documented exit codes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    from chaoskit.cli.main import main as run

    run()
