"""What the command asks of operations about letters, stopped partitions and plans, with its certificate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import KINDS, PlanId
from schemas.topics import TOPICS
from services.operations.domain.plans import Plan, shown
from services.operations.domain.roles import COMMAND
from services.operations.plans import Plans
from services.runtime.acts import Reason, Whole
from services.runtime.clock import Clock

LetterId = Annotated[str, Path(pattern=KINDS["dead_letter"].pattern)]
ServiceName = Annotated[str, Path(pattern=r"^[a-z_]{1,30}$")]
PlanWord = Literal["approval", "pause", "resumption", "cancellation"]
READERS: Final = tuple(sorted({reader for topic in TOPICS for reader in topic.readers}))


class _RequestBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PlanRequest(_RequestBody):
    """An act to be tried without effect, at which service, and what is meant."""

    act: Annotated[str, Field(pattern=r"^[a-z]{1,10}$")]
    service: Annotated[str, Field(pattern=r"^[a-z_]{1,30}$")]
    chosen: dict[str, Any]


class Confirmation(_RequestBody):
    """Why, and how much the plan is about, as it was shown."""

    reason: Reason
    count: Whole


class LettersAndPartitions(Protocol):
    """What services show."""

    async def read(self, service: str, path: str) -> Any:
        """One service's answer."""

    async def read_all(self, services: Sequence[str], path: str) -> tuple[list[dict[str, Any]], list[str]]:
        """The rows of all that answer, and who does not."""


@dataclass(frozen=True, slots=True)
class CommandActor:
    """Whoever holds the operator's certificate: one person, who may do anything."""

    pseudonym: str = COMMAND

    def may(self, act: str) -> bool:
        """Any act."""
        return bool(act)


def acts_routes(
    plans: Plans, doors: LettersAndPartitions, clock: Clock, receipt_key: Mapping[str, Any]
) -> APIRouter:
    """The routes of the command; its console's are others, over the same plans."""
    router = APIRouter(prefix="/v1")
    router.include_router(_looking(doors, receipt_key))
    router.include_router(_planning(plans, clock))
    return router


def _looking(doors: LettersAndPartitions, receipt_key: Mapping[str, Any]) -> APIRouter:
    router = APIRouter()

    @router.get("/dead-letters")
    async def list_letters() -> Mapping[str, Any]:
        """What was set aside and waits for a person, at every reader; and who does not answer."""
        rows, silent = await doors.read_all(READERS, "/v1/dead-letters")
        return {"data": rows, "silent": silent}

    @router.get("/dead-letters/{service}/{letter}")
    async def show_letter(service: ServiceName, letter: LetterId) -> Any:
        """What is known of one record that was set aside; never its key or value."""
        return await doors.read(service, f"/v1/dead-letters/{letter}")

    @router.get("/readers")
    async def list_readers() -> Mapping[str, Any]:
        """What stands over every reader's partitions; and who does not answer."""
        rows, silent = await doors.read_all(READERS, "/v1/readers")
        return {"data": rows, "silent": silent}

    @router.get("/receipt-key")
    async def key() -> Mapping[str, Any]:
        """What checks receipts, as a JWK."""
        return receipt_key

    return router


def _planning(plans: Plans, clock: Clock) -> APIRouter:
    router, command = APIRouter(prefix="/plans"), CommandActor()

    def answer(plan: Plan) -> Mapping[str, Any]:
        return shown(plan, clock.now())

    @router.post("")
    async def make(asked: PlanRequest) -> Mapping[str, Any]:
        """Try an act without effect, and keep it as a plan."""
        return answer(await plans.make(command, asked.act, asked.service, asked.chosen))

    @router.get("")
    async def list_plans() -> Mapping[str, Any]:
        """The newest plans, without their receipts."""
        return {"data": [{**answer(one), "receipt": None} for one in await plans.newest()]}

    @router.get("/{name}")
    async def show(name: PlanId) -> Mapping[str, Any]:
        """A plan as it stands."""
        return answer(await plans.show(name))

    @router.post("/{name}/confirmation")
    async def confirm(name: PlanId, asked: Confirmation) -> Mapping[str, Any]:
        """The first person's word."""
        return answer(await plans.confirm(command, name, asked.reason, asked.count))

    @router.post("/{name}/{word}")
    async def say(name: PlanId, word: PlanWord) -> Mapping[str, Any]:
        """The second person's word; or let it stand still, go on, or go no further."""
        return answer(await plans.words[word](command, name))

    return router
