"""The way back of a trail: what stands beside its database is read strictly, before anything is done."""

from pathlib import Path

import pytest

from deploy.local import log_recovery
from deploy.local.places import make_directory
from deploy.local.refusals import CannotRun
from tests.unit.deploy.test_backups import an_installation


async def test_a_file_that_names_no_size_is_refused_by_its_name(tmp_path: Path) -> None:
    its = an_installation(tmp_path)
    file = its.log_size_file("health")
    make_directory(file.parent)
    file.write_bytes(f"{its.configuration.origin} 1\xa0000\n".encode("latin-1"))

    with pytest.raises(CannotRun) as refusal:
        await log_recovery.plan(its)

    assert (refusal.value.code, str(file) in refusal.value.sentence) == ("log_size_unreadable", True)
