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


def test_the_year_of_the_log_stays_that_of_the_first_start(tmp_path: Path) -> None:
    first = configuration.load(tmp_path).model_copy(update={"year": 2001})
    configuration.write(first)
    assert configuration.load(tmp_path).origin == "audit.localhost/demo/2001"


@pytest.mark.parametrize(
    ("text", "place"),
    [("celll = 'x'", "celll"), ("cell = 'Not A Word'", "cell"), ("[ports]\nkafka = 'many'", "ports.kafka")],
)
def test_a_wrong_file_is_refused_by_the_place_and_never_by_the_value(
    tmp_path: Path, text: str, place: str
) -> None:
    (tmp_path / "concert.toml").write_text(text)
    with pytest.raises(CannotRun) as refusal:
        configuration.load(tmp_path)
    assert refusal.value.code == "bad_configuration"
    assert refusal.value.sentence.endswith(f"{place}.")


@pytest.mark.parametrize(
    "text",
    [
        "mode = 'live'", "cell = 'cell-a'", "mode = 'test'", "mode = 'live'\ncell = 'cell-a'",
        "mode = 'test'\n[issuer]\nname = 'urn:example:issuer'\nkeys_file = '/keys'",
    ],
)  # fmt: skip
def test_a_mode_that_does_not_go_with_cell_issuer_or_holders_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "concert.toml").write_text(text)
    with pytest.raises(CannotRun) as refusal:
        configuration.load(tmp_path)
    assert refusal.value.code == "wrong_mode"


def test_an_installation_beyond_local_names_its_own_issuer(tmp_path: Path) -> None:
    issuer = "[issuer]\nname = 'urn:example:issuer'\nkeys_file = '/keys'\n"
    own = "mode = 'test'\ncell = 'test-a'\ngovernance_keys_file = '/governance.json'\n"
    (tmp_path / "concert.toml").write_text(own + issuer)
    assert configuration.load(tmp_path).issuer


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "concert.toml").write_text("cell = ")
    with pytest.raises(CannotRun, match="not readable as TOML"):
        configuration.load(tmp_path)


def test_a_variable_that_nothing_reads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCERT_CEL", "x")
    with pytest.raises(CannotRun, match="CONCERT_CEL"):
        configuration.load(tmp_path)
