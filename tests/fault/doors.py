"""Hostile bytes, floods and half-open connections at every door of an installation that goes on working.

`python -m tests.fault.doors --minutes 30 --seed 1`: bounded in count and time, loopback only, the same
choices for the same seed. Beside the attacks real referrals go their way; at the end every process must be
the one that was started, and the stolen sector must go on once it is told to. Exit 1 otherwise.
"""

import asyncio
import contextlib
import random
import ssl
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from deploy.local.places import temporary_directory
from services.cli.agency_client import ACCEPT, ACKNOWLEDGE, AgencyClient
from services.cli.demo.trial import Trial, listening, running_trial, set_up
from tests.bench.acceptance import memory_megabytes, offered
from tests.fault import hostile_records
from tests.fault.hostile_bytes import BODIES, PATHS, STARTS, TOKENS, flipped

STOLEN: Final = "education"
"""The sector whose Kafka password the attacker has; its own referrals may wait, nobody else's."""
OURS: Final = ("_api", "_internal", "_health")
ATTACKERS: Final = 4
HELD_MAX: Final = 400
"""Connections that stay half open, over all doors."""
FLOOD_BYTES_MAX: Final = 8 << 20
TOGETHER_MAX: Final = 200
ANSWER_WITHIN_SECONDS: Final = 45.0
"""Above the doors' own deadline for a body that does not come."""
REFERRAL_WITHIN_SECONDS: Final = 60.0
GROWTH_MEGABYTES_MAX: Final = 300.0

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Attack:
    """What one run does, and what it counts."""

    trial: Trial
    random: random.Random
    held: list[asyncio.StreamWriter] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str) -> None:
        """Remember what must not be, and say it at once."""
        self.faults.append(what)
        print(f"FAULT: {what}", flush=True)

    def door(self, *kinds: str) -> tuple[str, int]:
        """One of the installation's ports, by the ends of their names."""
        ports = self.trial.installation.ports
        return self.random.choice([(name, ports[name]) for name in sorted(ports) if name.endswith(kinds)])

    async def token(self) -> str:
        """A valid token of any agency."""
        agency = self.random.choice(self.trial.agencies)
        return await self.trial.issuer.token(agency=agency.id, staff=agency.staff[0], role="caseworker")

    async def open(self, name: str, port: int) -> Stream:
        """A connection, with the operator's certificate where the door asks for one."""
        wrapped = self._operator() if name.endswith("_internal") else None
        return await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", port, ssl=wrapped, limit=FLOOD_BYTES_MAX),
            ANSWER_WITHIN_SECONDS,
        )

    def _operator(self) -> ssl.SSLContext:
        certificates = self.trial.installation.certificates
        context = ssl.create_default_context(cafile=certificates.authority_file)
        context.check_hostname = False
        context.load_cert_chain(certificates.certificate_file("operator"), certificates.key_file("operator"))
        return context

    async def send(self, name: str, port: int, *pieces: bytes, rest_seconds: float = 0.0) -> None:
        """Send the pieces and take what comes back; only an answer of 500 and silence are faults."""
        reader, writer = await self.open(name, port)
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), ANSWER_WITHIN_SECONDS)
                await asyncio.sleep(rest_seconds)
            answer = await asyncio.wait_for(reader.read(65_536), ANSWER_WITHIN_SECONDS)
        finally:
            writer.close()
        status = answer[9:12].decode("ascii", "replace") if answer.startswith(b"HTTP/1.1 ") else "closed"
        self.answers[status] += 1
        if status == "500":
            self.fault(f"{name} answered 500")

    async def hold(self, name: str, port: int, start: bytes, *, tls: bool) -> None:
        """Leave a connection half open; the oldest are let go."""
        opening = self.open(name, port) if tls else asyncio.open_connection("127.0.0.1", port)
        _, writer = await asyncio.wait_for(opening, ANSWER_WITHIN_SECONDS)
        writer.write(start)
        self.held.append(writer)
        while len(self.held) > HELD_MAX:
            self.held.pop(0).close()


async def any_bytes(attack: Attack) -> None:
    """Bytes that are nothing, at any port; brokers may wait for more of them."""
    name, port = attack.door("")
    noise = attack.random.randbytes(attack.random.randint(1, 60_000))
    patience = contextlib.nullcontext() if name.endswith(OURS) else contextlib.suppress(TimeoutError)
    with patience:
        await attack.send("plain", port, noise)


async def nearly_right(attack: Attack) -> None:
    """A request as it should be, but for a few bits."""
    name, port = attack.door(*OURS)
    await attack.send(name, port, flipped(attack.random, request(attack, '{"reference":"A-1"}')))


async def hostile_body(attack: Attack) -> None:
    """Bodies on which parsers once hung, with and without a token."""
    name, port = attack.door("_api", "_internal")
    body = attack.random.choice(BODIES)(attack.random.randint(1_000, 200_000))
    await attack.send(name, port, request(attack, body))


async def hostile_token(attack: Attack) -> None:
    """What calls itself a token."""
    name, port = attack.door("_api")
    token = attack.random.choice(TOKENS)(attack.random.randint(10, 12_000))
    await attack.send(name, port, request(attack, "{}", token=token))


async def hostile_path(attack: Attack) -> None:
    """A valid token, and a path or query that no client would write."""
    name, port = attack.door("_api", "_internal")
    await attack.send(name, port, request(attack, "", method="GET", path=attack.random.choice(PATHS)))


async def endless_headers(attack: Attack) -> None:
    """Headers until somebody hangs up."""
    name, port = attack.door(*OURS)
    pieces = (b"x-%d: %s\r\n" % (number, b"a" * 4_000) for number in range(FLOOD_BYTES_MAX // 4_000))
    await attack.send(name, port, b"GET / HTTP/1.1\r\nhost: localhost\r\n", *pieces)


async def endless_body(attack: Attack) -> None:
    """A chunked body until somebody hangs up."""
    name, port = attack.door("_api", "_internal")
    head = request(attack, "", more="transfer-encoding: chunked\r\n")
    chunk = b"10000\r\n" + b"[" * 65_536 + b"\r\n"
    await attack.send(name, port, head, *[chunk] * (FLOOD_BYTES_MAX // 65_536))


async def drop_by_drop(attack: Attack) -> None:
    """A request that comes one byte at a time."""
    name, port = attack.door(*OURS)
    drops = [bytes([byte]) for byte in request(attack, "{}")[:40]]
    await attack.send(name, port, *drops, rest_seconds=0.2)


async def half_open(attack: Attack) -> None:
    """Connections that begin something and go silent, at any port."""
    name, port = attack.door("")
    tls = name.endswith("_internal") and attack.random.random() < 0.5
    for _ in range(attack.random.randint(1, 40)):
        await attack.hold(name, port, attack.random.choice(STARTS), tls=tls)


async def long_polls(attack: Attack) -> None:
    """One agency's system asks to wait, many times over."""
    agency = attack.random.choice(attack.trial.agencies)
    port = attack.trial.installation.ports[f"{agency.sector}_api"]
    token = await attack.trial.issuer.token(agency=agency.id, staff=agency.staff[0], role="caseworker")
    asked = request(attack, "", method="GET", path="/v1/events?after=0&wait=5", token=token)
    await together(attack, [attack.send("flood_api", port, asked) for _ in range(TOGETHER_MAX)])


async def prober(attack: Attack) -> None:
    """A valid token that looks for what is not its own."""
    name, port = attack.door("_api")
    paths = [f"/v1/referrals/ref_{attack.random.randbytes(16).hex()}" for _ in range(TOGETHER_MAX)]
    asked = [request(attack, "", method="GET", path=path, more="concert-purpose: care\r\n") for path in paths]
    await together(attack, [attack.send(name, port, one) for one in asked])


async def strange_records(attack: Attack) -> None:
    """The stolen user of one sector writes what no service would."""
    attack.answers.update(await hostile_records.send(attack.trial, STOLEN, attack.random))


ATTACKS: Final[tuple[Callable[[Attack], Awaitable[None]], ...]] = (
    any_bytes, nearly_right, hostile_body, hostile_token, hostile_path, endless_headers, endless_body,
    drop_by_drop, half_open, long_polls, prober, strange_records,
)  # fmt: skip


def request(
    attack: Attack,
    body: str,
    *,
    method: str = "POST",
    path: str = "/v1/cases",
    token: str = "",
    more: str = "",
) -> bytes:
    """One request; without a token given, half of them carry a valid one."""
    bearer = token or (attack.token() if attack.random.random() < 0.5 else "")
    authorization = f"authorization: Bearer {bearer}\r\n" if bearer else ""
    raw = body.encode("utf-8", "surrogatepass")
    size = "" if "chunked" in more else f"content-length: {len(raw)}\r\n"
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        f"content-type: application/json\r\nidempotency-key: {attack.random.randbytes(8).hex()}\r\n"
        f"{authorization}{more}{size}\r\n"
    )
    return head.encode("utf-8", "surrogatepass") + raw


async def together(attack: Attack, sendings: list[Awaitable[None]]) -> None:
    """All at once; each may be refused."""
    for outcome in await asyncio.gather(*sendings, return_exceptions=True):
        if isinstance(outcome, BaseException):
            attack.answers[type(outcome).__name__] += 1


async def attack_until(attack: Attack, ends: float) -> None:
    """One attack after the other, in the order that the seed gives."""
    while time.monotonic() < ends:
        one = attack.random.choice(ATTACKS)
        attack.done[one.__name__] += 1
        try:
            await one(attack)
        except TimeoutError:
            attack.fault(f"{one.__name__}: no answer within {ANSWER_WITHIN_SECONDS:.0f} s")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError) as error:
            attack.answers[type(error).__name__] += 1  # refused, which is an answer


async def referrals_until(attack: Attack, ends: float, slowest: list[float]) -> None:
    """Real referrals between the other sectors, from offer to acceptance."""
    others = [agency for agency in attack.trial.agencies if agency.sector != STOLEN]
    number = 0
    while time.monotonic() < ends:
        owner, receiver = others[number % len(others)], others[(number + 1) % len(others)]
        number += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(REFERRAL_WITHIN_SECONDS):
                await one_referral(attack.trial.clients[owner.id], attack.trial.clients[receiver.id])
        except TimeoutError:
            attack.fault(f"referral {number} was not accepted in {REFERRAL_WITHIN_SECONDS:.0f} s")
        slowest.append(time.monotonic() - began)
        await asyncio.sleep(1)


async def one_referral(owner: AgencyClient, receiver: AgencyClient) -> None:
    """Offered, acknowledged, accepted."""
    referral = await offered(owner, receiver)
    for step in (ACKNOWLEDGE, ACCEPT):
        await receiver.step(referral, step)
        await receiver.told(referral, step.fact)


async def run(folder: Path, minutes: float, seed: int) -> bool:
    """The whole run; tells what it saw and whether nothing stopped."""
    async with running_trial(folder / "installation", print) as trial:
        await set_up(trial)
        attack = Attack(trial, random.Random(seed))
        before = {name: trial.platform.pid(name) for name in trial.platform.names}
        megabytes = {name: memory_megabytes(pid) for name, pid in before.items()}
        slowest: list[float] = []
        ends = time.monotonic() + minutes * 60
        async with listening(trial.clients.values()):
            async with asyncio.TaskGroup() as group:
                for number in range(ATTACKERS):
                    mine = replace(attack, random=random.Random(f"{seed}/{number}"))
                    group.create_task(attack_until(mine, ends))
                group.create_task(referrals_until(attack, ends, slowest))
                group.create_task(tell_until(attack, ends))
            for writer in attack.held:
                writer.close()
            print(f"partitions resumed {await hostile_records.resume(trial, STOLEN)} times")
            await last_look(attack, before, megabytes)
    print(f"attacks: {dict(attack.done)}")
    print(f"answers: {dict(attack.answers)}")
    print(f"referrals: {len(slowest)}, slowest {max(slowest, default=0):.1f} s")
    return not attack.faults and bool(slowest)


async def tell_until(attack: Attack, ends: float) -> None:
    """A sign of life each half minute."""
    while (left := ends - time.monotonic()) > 0:
        await asyncio.sleep(min(30.0, left))
        print(f"{attack.done.total()} attacks, {attack.answers.total()} answers, {len(attack.faults)} faults")


async def last_look(attack: Attack, before: dict[str, int | None], megabytes: dict[str, float]) -> None:
    """Nobody died, nobody grew without bound, and the stolen sector works again."""
    platform = attack.trial.platform
    for name, pid in before.items():
        if platform.pid(name) != pid:
            attack.fault(f"{name} has died and was started again")
        elif (growth := memory_megabytes(pid) - megabytes[name]) > GROWTH_MEGABYTES_MAX:
            attack.fault(f"{name} has grown by {growth:.0f} MB")
    stolen = next(agency for agency in attack.trial.agencies if agency.sector == STOLEN)
    other = next(agency for agency in attack.trial.agencies if agency.sector != STOLEN)
    for owner, receiver in ((stolen, other), (other, stolen)):
        try:
            async with asyncio.timeout(REFERRAL_WITHIN_SECONDS):
                await one_referral(attack.trial.clients[owner.id], attack.trial.clients[receiver.id])
        except TimeoutError:
            attack.fault(f"{owner.sector} to {receiver.sector} does not work again")


def main() -> None:
    """Read the words and run."""
    parser = ArgumentParser(prog="python -m tests.fault.doors", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    with temporary_directory("concert-doors-") as folder, contextlib.suppress(KeyboardInterrupt):
        sys.exit(0 if asyncio.run(run(folder, words.minutes, words.seed)) else 1)


if __name__ == "__main__":
    main()
