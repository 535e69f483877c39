"""Run a command that dies with its parent: `launch.py SIGNAL PARENT COMMAND...`.

It asks the kernel for SIGNAL when the parent's thread ends, then becomes the command, so the
process id stays the same. Without prctl (not Linux) it only becomes the command.
It imports nothing of Streamer: it runs as a file, and starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

__all__ = ["launched"]

PR_SET_PDEATHSIG = 1


def launched(command: Sequence[str], signal: int) -> list[str]:
    """The command, to be started by the calling thread, so that it gets `signal` when that ends."""
    launcher = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    return [*launcher, str(int(signal)), str(os.getpid()), *command]


def main() -> None:
    signal, parent, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
        if os.getppid() != parent:  # it died before the request was made
            sys.exit("the parent is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
