"""What the operator chooses, where it comes from, and what is refused."""

from pathlib import Path

import pytest

from deploy.local import configuration
from deploy.local.refusals import CannotRun


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONCERT_DATA", "CONCERT_CELL", "CONCERT_PORTS__KAFKA"):
        monkeypatch.delenv(name, raising=False)


def test_a_first_start_has_the_defaults_and_writes_them_for_the_next(tmp_path: Path) -> None:
    first = configuration.load(tmp_path)
    assert (first.mode, first.cell, first.jurisdiction) == ("local", "test-local", "demo")
    configuration.write(first.model_copy(update={"chosen_ports": {"kafka": 21_000}}))
    again = configuration.load(tmp_path)
    assert again.chosen_ports == {"kafka": 21_000}
    assert again.model_copy(update={"chosen_ports": {}}) == first


def test_variables_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "concert.toml").write_text('cell = "test-file"\njurisdiction = "somewhere"\n')
    monkeypatch.setenv("CONCERT_CELL", "test-variable")
    monkeypatch.setenv("CONCERT_PORTS__KAFKA", "9999")
    found = configuration.load(tmp_path)
    assert (found.cell, found.jurisdiction, found.ports) == ("test-variable", "somewhere", {"kafka": 9999})


def test_the_data_directory_can_be_named_by_a_variable_but_an_argument_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCERT_DATA", str(tmp_path / "variable"))
    assert configuration.load().data == tmp_path / "variable"
    assert configuration.load(tmp_path / "argument").data == tmp_path / "argument"


def test_what_the_operator_wrote_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "concert.toml"
    text = '# mine\ncell = "test-mine"\n\n[ports]\nkafka = 9999  # reserved\n'
    file.write_text(text)
    for port in (21_000, 21_001):
        found = configuration.load(tmp_path)
        configuration.write(found.model_copy(update={"chosen_ports": {"postgres": port}}))
    assert file.read_text().startswith(text)
    again = configuration.load(tmp_path)
    assert (again.ports, again.chosen_ports) == ({"kafka": 9999}, {"postgres": 21_001})


def test_numbers_of_processes_hold_at_the_next_start_unless_the_operator_names_them(tmp_path: Path) -> None:
    configuration.write(configuration.load(tmp_path).model_copy(update={"scale": {"health": 2}}))
    assert configuration.load(tmp_path).scale == {"health": 2}

    (tmp_path / "concert.toml").write_text("[scale]\nhealth = 3\n")
    configuration.write(configuration.load(tmp_path).model_copy(update={"scale": {"health": 2}}))
    assert configuration.load(tmp_path).scale == {"health": 3}


def test_the_year_of_the_log_stays_that_of_the_first_start(tmp_path: Path) -> None:
    first = configuration.load(tmp_path).model_copy(update={"year": 2001})
    configuration.write(first)
    assert configuration.load(tmp_path).origin == "audit.localhost/demo/2001"


ISSUER = "[issuer]\nname = 'urn:example:issuer'\nkeys_file = '/keys'\n"
WRONG = {
    "celll = 'x'": ("bad_configuration", "at: celll."),
    "cell = 'Not A Word'": ("bad_configuration", "at: cell."),
    "[ports]\nkafka = 'many'": ("bad_configuration", "at: ports.kafka."),
    "cell = ": ("bad_configuration", "not readable as TOML."),
    "mode = 'live'": ("wrong_mode", "use mode test."),
    "mode = 'live'\ncell = 'cell-a'": ("wrong_mode", "use mode test."),
    "cell = 'cell-a'": ("wrong_mode", "begins with test-."),
    "mode = 'test'": ("wrong_mode", "name your own issuer."),
    f"mode = 'test'\n{ISSUER}": ("wrong_mode", "(`concert governance keys create`)."),
}
"""What an operator wrote → the refusal's code, and how its sentence ends: with a place, never a value."""


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_or_mode_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "concert.toml").write_text(text)
    with pytest.raises(CannotRun) as refusal:
        configuration.load(tmp_path)
    assert refusal.value.code == WRONG[text][0]
    assert refusal.value.sentence.endswith(WRONG[text][1])


def test_an_installation_beyond_local_names_its_own_issuer(tmp_path: Path) -> None:
    own = "mode = 'test'\ncell = 'test-a'\ngovernance_keys_file = '/governance.json'\n"
    (tmp_path / "concert.toml").write_text(own + ISSUER)
    assert configuration.load(tmp_path).issuer


def test_a_variable_that_nothing_reads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCERT_CEL", "x")
    with pytest.raises(CannotRun, match="CONCERT_CEL"):
        configuration.load(tmp_path)
