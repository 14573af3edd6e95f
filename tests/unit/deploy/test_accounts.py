"""Accounts of their own for the parts: made by root alone, or told why not."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.local import accounts
from deploy.local.accounts import Account
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


def test_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o755)
    (tmp_path / "audit").symlink_to("theirs")
    ours = Account(os.geteuid(), os.getegid())

    for change in (accounts.give, accounts.let_enter, accounts.let_read):
        with pytest.raises(CannotRun, match="audit is a link"):
            change(ours, tmp_path / "audit")
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o755
    accounts.give(ours, tmp_path / "theirs")
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o700
