"""Accounts of their own for the parts: made by root alone, or told why not."""

import subprocess
from typing import Any

import pytest

from deploy.local import accounts
from deploy.local.refusals import CannotRun


def test_an_ordinary_user_makes_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "is_root", lambda: False)
    assert (accounts.account_of("concert-kafka"), accounts.missing()) == (None, ())


def test_without_useradd_the_refusal_names_the_accounts_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_arguments: Any, **_more: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(accounts, "is_root", lambda: True)
    monkeypatch.setattr(accounts, "_found", lambda _name: None)
    monkeypatch.setattr(subprocess, "run", absent)
    with pytest.raises(CannotRun, match="make concert, concert-kafka, concert-postgres by hand") as refusal:
        accounts.account_of("concert")
    assert refusal.value.code == "no_account"
