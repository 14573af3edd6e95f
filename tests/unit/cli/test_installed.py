"""What the operator's words make of services that answer in part."""

from typing import Any

import httpx2
import pytest
import typer

from services.cli import installed
from services.cli.installed import ask_all, check_all_answered
from services.cli.talk import TEMPORARY


def test_a_service_whose_database_is_away_is_told_like_one_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its refusal is a document too, but not the one that the word wants to show."""

    def client(_installation: Any, service: str) -> httpx2.AsyncClient:
        def reply(_request: httpx2.Request) -> httpx2.Response:
            sound = service == "health"
            return httpx2.Response(
                200 if sound else 503, json={"data": [{"rule": "one"}]} if sound else {"code": "unavailable"}
            )

        return httpx2.AsyncClient(transport=httpx2.MockTransport(reply), base_url="https://service")

    monkeypatch.setattr(installed, "installed", lambda _data: None)
    monkeypatch.setattr(installed, "operator_client", client)

    rows, silent = ask_all(None, ["health", "police"], "/v1/readers")

    assert rows == [{"service": "health", "rule": "one"}]
    assert silent == ["police"]
    with pytest.raises(typer.Exit) as ended:
        check_all_answered(None, silent)
    assert ended.value.exit_code == TEMPORARY
