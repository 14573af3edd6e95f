"""Runs a program that dies with its parent: `bound_program.py PARENT UID GID PROGRAM …`; 0 = stay yourself.

A program of its own, because code between fork and exec is not safe in a process that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


def die_with(parent: int) -> None:
    """Ends this process when its parent does (Linux; elsewhere the supervisor's own order must do)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def call_process(name: str) -> None:
    """Gives this process a name that lists of processes show (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())


def become_account(uid: int, gid: int) -> None:
    """Gives up being root for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main() -> None:
    """Becomes another account if asked, ties itself to the parent, then becomes the program."""
    parent, uid, gid = (int(word) for word in sys.argv[1:4])
    if uid:
        become_account(uid, gid)
    die_with(parent)
    os.execv(sys.argv[4], sys.argv[4:])  # noqa: S606


if __name__ == "__main__":
    main()
