"""The table of processes: who is told what, and where everything listens."""

from pathlib import Path

import pytest

from deploy.local import configuration
from deploy.local.installation import Installation
from deploy.local.processes import (
    ISSUER_PROCESS,
    KAFKA,
    MAIL_SINK,
    POSTGRES,
    PROCESSES,
    check_scale,
    usual_ports,
)
from deploy.local.refusals import CannotRun
from deploy.local.supervisor import more_of
from schemas.topics import SECTORS, SERVICES
from tests.support.governance import KEYS_TEXT

PLACES = (KAFKA, POSTGRES)


SERVICE_PROCESSES = [each for each in PROCESSES if "GOVERNANCE_KEYS_FILE" in each.told]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(configuration.trial(tmp_path), usual_ports())


def test_every_service_has_a_process() -> None:
    vaults = {f"{sector}_vault" for sector in SECTORS}
    others = {"audit_sign", MAIL_SINK, ISSUER_PROCESS, "referrals_views"}
    assert {each.name for each in PROCESSES} == {*SERVICES, *others} | vaults


def test_everything_needed_is_a_server() -> None:
    assert {need for each in PROCESSES for need in each.needs} <= set(PLACES)


def test_no_two_parts_have_the_same_usual_port() -> None:
    found = usual_ports()
    assert len(set(found.values())) == len(found)


def test_processes_of_a_service_share_all_ports_but_the_probes() -> None:
    one, three = usual_ports(), usual_ports({"health": 3})
    assert three.keys() - one.keys() == {"health-2_health", "health-3_health"}
    assert len(set(three.values())) == len(three)


@pytest.mark.parametrize(
    "scale",
    [{"health": 4}, {"health": 0}, {"audit": 3}, {"referrals_views": 2}, {"health_vault": 2}, {"x": 2}],
)
def test_more_processes_than_could_have_work_are_refused_before_anything_starts(
    scale: dict[str, int], tmp_path: Path
) -> None:
    check_scale(
        configuration.trial(tmp_path, scale={"health": 3, "referrals": 2, "audit": 2, "audit_sign": 2})
    )
    with pytest.raises(CannotRun, match="bad_scale"):
        check_scale(configuration.trial(tmp_path, scale=scale))


def test_a_variable_of_a_service_reaches_all_its_processes_and_one_of_a_process_that_alone() -> None:
    more = {"health": {"A": "all", "B": "all"}, "health-2": {"B": "second"}}
    told = [more_of(more, "health", number) for number in (1, 2)]
    assert told == [{"A": "all", "B": "all"}, {"A": "all", "B": "second"}]


def test_each_process_has_its_own_database_role_and_kafka_user(installation: Installation) -> None:
    for key in ("CONCERT_DATABASE__PASSWORD_FILE", "CONCERT_KAFKA__USER", "CONCERT_KAFKA__PASSWORD_FILE"):
        told = [
            each.environment(installation)[key] for each in PROCESSES if key in each.environment(installation)
        ]
        assert len(set(told)) == len(told) > 0


def test_only_the_signer_is_told_the_key_of_the_log_and_only_the_sequencer_that_of_permits(
    installation: Installation,
) -> None:
    def told(key: str) -> list[str]:
        return [each.name for each in PROCESSES if key in each.environment(installation)]

    assert told("CONCERT_LOG_KEY_FILE") == ["audit_sign"]
    assert told("CONCERT_PERMIT_KEY_FILE") == told("CONCERT_WRAP_KEY_FILE") == ["audit"]


def test_a_vault_is_told_no_way_to_a_database_a_broker_or_a_certificate(installation: Installation) -> None:
    for sector in SECTORS:
        [vault] = [each for each in PROCESSES if each.name == f"{sector}_vault"]
        told = vault.environment(installation)
        assert {name.removeprefix("CONCERT_") for name in told} == {
            "MODE", "CELL", "GOVERNANCE_KEYS_FILE", "LOG", "AUDIT__LOG_KEY", "AUDIT__PERMIT_KEY",
            "VAULT__FOLDER", "VAULT__SIGNING_KEY_FILE",
        }  # fmt: skip
        assert told["CONCERT_VAULT__FOLDER"].endswith(f"vaults/{sector}")


def test_an_installation_with_other_holders_has_none_of_their_private_keys(
    installation: Installation, tmp_path: Path
) -> None:
    own = {each.environment(installation)["CONCERT_GOVERNANCE_KEYS_FILE"] for each in SERVICE_PROCESSES}
    theirs = tmp_path / "governance.json"
    theirs.write_bytes(KEYS_TEXT)
    chosen = configuration.trial(tmp_path / "other", governance_keys_file=theirs)
    other = Installation(chosen, usual_ports())

    # Trail and operations keep nothing that governance signs; whoever does pins its keys.
    assert {each.name for each in SERVICE_PROCESSES} & {*SERVICES} == {*SERVICES} - {"audit", "operations"}
    told = {each.environment(other)["CONCERT_GOVERNANCE_KEYS_FILE"] for each in SERVICE_PROCESSES}

    assert own == {str(installation.secrets.folder / "governance.public.json")}
    assert len(installation.holders) == 3
    assert (told, other.holders) == ({str(theirs)}, [])
    assert not [*other.secrets.folder.glob("governance*")]


def test_no_secret_itself_is_told_only_where_it_lies(installation: Installation) -> None:
    environments = [each.environment(installation) for each in PROCESSES]
    secrets = [file.read_text() for file in installation.secrets.folder.iterdir() if file.suffix != ".jwks"]
    assert secrets
    told = "\n".join(value for each in environments for value in each.values())
    assert not [secret for secret in secrets if secret in told]
