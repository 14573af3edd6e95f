"""Holders' keys and signatures on files: what is made, what is signed, and what is left alone."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from schemas.events.governance_keys import GovernanceKeys
from services.cli.governance_keys import read_document
from services.governance.domain.founding import FoundingAct
from tests.support.builders import a_protocol, a_service, an_agency
from tests.support.commands import run_command
from tests.support.stage import a_founding

DOCUMENTS: dict[str, Any] = {
    "agency": an_agency("lantern-house"),
    "service": a_service("police"),
    "protocol": a_protocol(),
    "founding": FoundingAct.model_validate(a_founding()),
}

HANDED_IN = {
    "agency": "concert agencies admit", "service": "concert services publish",
    "protocol": "approvers hand in each signature of", "founding": "concert governance found",
}  # fmt: skip


async def create(file: Path) -> dict[str, str]:
    created = await run_command("governance", "keys", "create", file)
    assert created.code == 0
    public: dict[str, str] = json.loads(created.out)
    return public


def written_to(file: Path, body: Any, **changes: Any) -> Path:
    content = json.loads(body.model_dump_json(exclude={"signatures"})) | changes
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("kind", DOCUMENTS)
async def test_two_holders_sign_a_document_on_files_alone(kind: str, tmp_path: Path) -> None:
    holders = [tmp_path / "one.key", tmp_path / "two.key"]
    public = await create(holders[0]) | await create(holders[1])
    file = written_to(tmp_path / "document.json", DOCUMENTS[kind])

    told = [await run_command("governance", "keys", "sign", file, "--key", key, "--json") for key in holders]

    GovernanceKeys.read(json.dumps(public).encode()).check(read_document(file.read_bytes()))
    assert f"{HANDED_IN[kind]} {file}" in told[1].err
    shown = [json.loads(one.out) for one in told]
    assert [one["signatures"] for one in shown] == [1, 2]
    assert len({(one["id"], one["version"], one["hash"]) for one in shown}) == 1
    assert {stat.S_IMODE(key.stat().st_mode) for key in holders} == {0o600}


async def test_a_key_is_never_written_over_and_signs_once(tmp_path: Path) -> None:
    key = tmp_path / "holder.key"
    await create(key)
    private = key.read_bytes()
    file = written_to(tmp_path / "agency.json", DOCUMENTS["agency"])
    sign = ("governance", "keys", "sign", file, "--key", key)

    once, over, twice = (
        await run_command(*sign),
        await run_command("governance", "keys", "create", key),
        await run_command(*sign),
    )

    assert [once.code, over.code, twice.code] == [0, 1, 1]
    assert "never written over" in over.err
    assert key.read_bytes() == private
    assert "another holder" in twice.err
    assert len(read_document(file.read_bytes()).signatures) == 1


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", '{"agency": "a", "agency": "b"}', '{"planted": 1}',
        DOCUMENTS["agency"].model_dump_json().replace('"status"', '"planted": 1, "status"'),
        DOCUMENTS["agency"].model_dump_json().replace("active", "planted"),
        DOCUMENTS["protocol"].model_dump_json().replace("xisp/1", "planted"),
    ],
)  # fmt: skip
async def test_what_is_no_document_is_not_signed_and_not_repeated(content: str, tmp_path: Path) -> None:
    key, file = tmp_path / "holder.key", tmp_path / "document.json"
    await create(key)
    file.write_text(content)

    result = await run_command("governance", "keys", "sign", file, "--key", key)

    assert result.code == 1
    assert "is no agency, service, protocol or founding act" in result.err
    assert "lanted" not in result.err
    assert file.read_text() == content


async def test_a_file_that_is_no_key_signs_nothing(tmp_path: Path) -> None:
    file = written_to(tmp_path / "agency.json", DOCUMENTS["agency"])

    result = await run_command("governance", "keys", "sign", file, "--key", file)

    assert result.code == 1
    assert "no private key" in result.err
    assert "signatures" not in file.read_text()
