"""A log that grew beyond its size is moved aside while its process writes on."""

import os
from pathlib import Path

from deploy.local.log_files import rotate


def test_a_log_is_cut_while_its_process_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "health.log"
    said: list[str] = []
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0) as output:
        for text in (b"older\n", b"old\n", b"new\n"):
            output.write(text)
            rotate(tmp_path, said.append, bytes_max=3 if text != b"new\n" else 100)

    assert (Path(f"{log}.1").read_bytes(), log.read_bytes(), said) == (b"old\n", b"new\n", [])
    assert Path(f"{log}.1").stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_copied_gives_way_and_says_so(tmp_path: Path) -> None:
    log = tmp_path / "health.log"
    log.write_bytes(b"much\n")
    Path(f"{log}.new").symlink_to("/dev/full")
    said: list[str] = []

    rotate(tmp_path, said.append, bytes_max=3)

    assert log.read_bytes() == b""
    assert len(said) == 1
    assert said[0].startswith("health.log is cut without a copy")
