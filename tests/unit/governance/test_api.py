from contextlib import AbstractAsyncContextManager

import httpx2
import pytest

from services.governance.api.operators import operators_routes, routes
from services.governance.handlers import Work
from services.runtime.web import caller_of, create_app


def nothing_to_open() -> AbstractAsyncContextManager[Work]:
    raise AssertionError("a caller without a name got as far as the database")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/agencies"),
        ("GET", "/v1/services"),
        ("GET", "/v1/protocols"),
        ("PUT", "/v1/agencies/agency-a"),
        ("PUT", "/v1/services/health"),
        ("PUT", "/v1/founding"),
        ("POST", "/v1/figures/rebuild"),
    ],
)
async def test_a_caller_whose_certificate_names_nobody_finds_nothing(method: str, path: str) -> None:
    app = create_app("Governance", caller_of)
    app.include_router(routes(nothing_to_open))
    app.include_router(operators_routes(nothing_to_open, {}))

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://test") as client:
        answer = await client.request(method, path, json={})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
