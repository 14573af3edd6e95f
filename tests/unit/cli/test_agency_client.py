"""An agency's system sends again what nobody answered, and knows which of its steps wait for an answer."""

from collections.abc import Callable

import httpx2
import pytest

from services.cli.agency_client import (
    ACCEPT,
    REFUSED,
    START,
    AgencyAccount,
    AgencyClient,
    NumberedFact,
    UnexpectedAnswer,
)

REFERRAL = "ref_1"
AGENCY = AgencyAccount(
    id="clinic", title="Clinic", sector="health", purpose="care", services={"day-clinic": ("medical_care",)},
    organization="", language="en", mail="", planted=("Ysolde", "Ysolde"),
)  # fmt: skip


class Issuer:
    """Signs nothing."""

    async def held_token(self, **_: str) -> str:
        return "a token"


def a_client(answer: Callable[[httpx2.Request], httpx2.Response]) -> AgencyClient:
    client = AgencyClient(AGENCY, "http://sector", Issuer())  # type: ignore[arg-type]
    client.http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer), base_url="http://sector")
    return client


def taken(request: httpx2.Request) -> httpx2.Response:
    """A step that is named after its sub-resource."""
    return httpx2.Response(202, json={"step": request.url.path.split("/")[-1], "referral": REFERRAL})


def an_event(number: int, kind: str, state: str | None = None, step: str | None = None) -> NumberedFact:
    return NumberedFact(REFERRAL, AGENCY.id, kind, number, state, "wrong_state" if step else None, step)


async def test_a_step_waits_until_its_fact_or_its_own_refusal_comes() -> None:
    client = a_client(taken)

    await client.step(REFERRAL, ACCEPT)
    await client.step(REFERRAL, START)
    assert list(client.unanswered) == ["acceptances", "starts"]
    client.take(an_event(2, REFUSED, step="starts"))

    assert list(client.unanswered) == ["acceptances"]
    client.take(an_event(3, ACCEPT.fact, "accepted"))
    assert client.unanswered == {}
    assert client.number(REFERRAL) == 3


async def test_a_fact_that_came_before_its_answer_leaves_nothing_waiting() -> None:
    client = a_client(taken)
    client.take(an_event(2, ACCEPT.fact, "accepted"))

    await client.step(REFERRAL, ACCEPT)

    assert client.unanswered == {}


async def test_what_nobody_answered_is_sent_again_under_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.cli.agency_client.RETRY_SECONDS", 0)
    keys: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            raise httpx2.ConnectError("nobody there")
        return httpx2.Response(503, text="not yet") if len(keys) == 2 else taken(request)

    assert await a_client(answer).step(REFERRAL, ACCEPT)
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize(("status", "step"), [(412, None), (422, UnexpectedAnswer)])
async def test_a_stale_view_is_told_and_what_cannot_go_on_is_raised(
    status: int, step: type[Exception] | None
) -> None:
    client = a_client(lambda _: httpx2.Response(status, json={"code": "no"}))

    if step is None:
        assert await client.step(REFERRAL, ACCEPT) is None
    else:
        with pytest.raises(step, match="clinic: POST /v1/referrals/ref_1/acceptances: 422"):
            await client.step(REFERRAL, ACCEPT)
