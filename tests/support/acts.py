"""Operators' acts as `operations` has a service do them: a dry run, then an order for what it found."""

from typing import Any

import httpx2

from services.runtime.ids import new_id

ALONE, BOTH = {"actor": "command"}, {"actor": "command", "approved_by": "another"}


def an_order(**changes: Any) -> dict[str, Any]:
    """An order of a plan of its own, that two persons agreed to."""
    return {"plan": new_id("plan"), "reason": "mended", **BOTH, **changes}


async def rehearsed(client: httpx2.AsyncClient, act: str, **chosen: Any) -> tuple[int, Any]:
    """The answer to a dry run: status, and code or what it found."""
    return told(await client.post(f"/v1/acts/{act}/rehearsal", json=chosen))


async def ordered(
    client: httpx2.AsyncClient, act: str, scope: dict[str, Any], count: int, **order: Any
) -> tuple[int, Any]:
    """The answer to an order: status, and code or how much was done."""
    body = {"order": an_order(**order), "scope": scope, "count": count}
    return told(await client.post(f"/v1/acts/{act}", json=body))


async def acted(client: httpx2.AsyncClient, act: str, **chosen: Any) -> tuple[int, Any]:
    """A dry run, and the order for all that it found."""
    status, found = await rehearsed(client, act, **chosen)
    if status != httpx2.codes.OK:
        return status, found
    return await ordered(client, act, found["scope"], found["count"])


def told(answer: httpx2.Response) -> tuple[int, Any]:
    """An answer's status, and its code, its counts or itself."""
    document = answer.json()
    return answer.status_code, document.get("code") or document.get("counts") or document
