"""Owns becoming a program that the kernel kills as soon as its parent is gone, however that ends (Linux).

Run as a script: `die_with_parent.py <parent pid> <program> <argument>...`. A hook between fork and exec would do the
same in one process less, but is not safe in a parent with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXIT_CANNOT_RUN = 127


def main(parent_pid: int, command: list[str]) -> str:
    """Become the command; what is returned is why that failed.

    "Parent" is the thread that started this process: start it from one that lives as long as the program is needed.
    """
    why_not = tie_to_parent(parent_pid)
    if why_not is not None:
        return why_not
    try:
        os.execv(command[0], command)
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"


def tie_to_parent(parent_pid: int) -> str | None:
    """Have the kernel kill this process when its parent ends; what is returned is why that failed."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL)):
        return f"prctl failed: {os.strerror(ctypes.get_errno())}"
    if os.getppid() != parent_pid:
        return "the parent is gone already"
    return None


if __name__ == "__main__":
    print(main(int(sys.argv[1]), sys.argv[2:]), file=sys.stderr)
    sys.exit(EXIT_CANNOT_RUN)
