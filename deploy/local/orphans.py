"""Ends the sessions that a database server left behind: `orphans.py CLUSTER` does so once its input ends.

A killed server's sessions end by themselves when they next look, and one that hangs or was stopped does not
look. No signal to a process group reaches them, for they leave it: they are known by their working directory,
which is the cluster. A program of its own, because it must outlive the supervisor.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

LOOKS = 50
PAUSE_SECONDS = 0.2


def end_orphans(cluster: Path) -> int:
    """Kills every PostgreSQL process that works in a cluster; gives how many there were."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or another account's
            if (process / "comm").read_text() == "postgres\n" and (process / "cwd").samefile(cluster):
                os.kill(int(process.name), signal.SIGKILL)
                found += 1
    return found


def main() -> None:
    """Waits for the end of the input, which the supervisor alone holds; then for that of all sessions."""
    sys.stdin.buffer.read()
    for _ in range(LOOKS):
        if not end_orphans(Path(sys.argv[1])):
            return
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
