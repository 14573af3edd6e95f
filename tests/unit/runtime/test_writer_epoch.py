"""The file of the writer epoch: whatever lies there instead is no number, or named as what it is."""

from pathlib import Path

import pytest

from services.runtime.writer_epoch import EPOCH_MAX, EpochUnreadable, read_epoch, write_epoch


@pytest.mark.parametrize(
    ("content", "epoch"),
    [
        (b"5\n", 5), (b"007", 7), (f"{EPOCH_MAX}".encode(), EPOCH_MAX), (f"{EPOCH_MAX + 1}".encode(), None),
        (b"", None), (b"0", None), (b"-1", None), (b"1" * 30, None), ("٣".encode(), None), (b"5\0", None),
    ],
)  # fmt: skip
def test_only_a_number_that_can_be_one_is_an_epoch(tmp_path: Path, content: bytes, epoch: int | None) -> None:
    (tmp_path / "health").write_bytes(content)

    assert read_epoch(tmp_path / "health") == epoch


def test_a_file_that_is_there_and_cannot_be_read_is_no_older_copy_and_not_the_databases_fault(
    tmp_path: Path,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")

    for name in ("folder", "link", "file/health"):
        with pytest.raises(EpochUnreadable, match=name):
            read_epoch(tmp_path / name)
    with pytest.raises(EpochUnreadable):
        write_epoch(tmp_path / "folder", 5)
