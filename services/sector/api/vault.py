"""What the operator may ask of a sector's vault, through its service: how it is, and a new epoch of keys."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fastapi import APIRouter

from services.runtime.logs import log


class OperatedVault(Protocol):
    """A vault as its operator sees it; both wait, and raise where it does not answer."""

    async def status(self) -> Mapping[str, Any]:
        """How it is; no key and nothing of a person."""

    async def rotate(self) -> str:
        """Begin a new epoch; its name."""


def vault_routes(vault: OperatedVault, rewrap: Callable[[], None]) -> APIRouter:
    """The operator's routes; `rewrap` tells that keys of an older epoch wait."""
    router = APIRouter(prefix="/v1")

    @router.get("/vault")
    async def vault_status() -> Mapping[str, list[Mapping[str, Any]]]:
        """How the vault is."""
        return {"data": [await vault.status()]}

    @router.post("/vault/rotation")
    async def rotate() -> Mapping[str, str]:
        """Begin a new epoch; stored keys are wrapped anew, and the old one's goes 35 days after it began."""
        epoch = await vault.rotate()
        log().warning("vault_rotated", state=epoch)
        rewrap()
        return {"epoch": epoch}

    return router
