"""chaoskit as the child of another program: `python -m chaoskit.cli.tethered PARENT_PID ARGUMENTS...`.

It is the command line, and it ends (as after SIGTERM: everything that it started is stopped) when its parent is gone,
however that ended. Where the system has no such tie, it is the command line alone.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Entry point: the first argument is the process id of the parent."""
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            # It was gone before the tie was made.
            sys.exit(130)
    from chaoskit.cli.start import main as run

    run()


if __name__ == "__main__":
    main()
