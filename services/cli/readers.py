"""`concert readers list|resume`: what stands over partitions that services read; letting them go on."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from services.cli.dead_letters import READERS
from services.cli.installed import DataDirectory, installed, operator_client
from services.cli.talk import FAILED, TEMPORARY, AsJson, command, fail, failures_told, say, show_json

app = typer.Typer(no_args_is_help=True)

NOT_FOUND: Final = 4


@app.command("list", short_help="Show the partitions that stopped, and why.")
def list_alarms(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert readers list`, `concert readers list --json`.

    Shows every partition that stopped, or whose reader lost something, until `resume` ends it.
    """
    with failures_told():
        answers = asyncio.run(_asked(data, READERS, "GET", "/v1/readers"))
    rows = [
        {"service": name, **row}
        for name, answer in answers.items()
        if answer
        for row in answer.json()["data"]
    ]
    if as_json:
        show_json({"data": rows})
    else:
        print("\n".join("\t".join(row.values()) for row in rows) or "Nothing stands over any partition.")
    if rows:
        say(f"Next, once the cause is known: {command('readers resume --help', data)}")
    silent = [name for name, answer in answers.items() if answer is None]
    if silent:
        fail(f"no answer from {', '.join(silent)}; see {command('status', data)}", TEMPORARY)


@app.command("resume", short_help="Let a partition go on.")
def resume(
    service: Annotated[str, typer.Argument(help="The reader: a name of the first column of `list`.")],
    topic: str,
    partition: int,
    reason: Annotated[str, typer.Option(help="Why it may go on, without a word on any person; it is kept.")],
    data: DataDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Example: `concert readers resume referrals TOPIC 0 --reason "sender mended"`, as `list` names it.

    Ends what stands over a partition; one that stopped goes on with the record after its last dead letter.
    """
    if service not in READERS:
        fail(f"{service} reads no topic; name one of {', '.join(READERS)}", NOT_FOUND)
    path = f"/v1/readers/{topic}/{partition}/resumption"
    with failures_told():
        answer = asyncio.run(_asked(data, [service], "POST", path, {"reason": reason}))[service]
    if answer is None:
        fail(f"{service} does not answer; see {command('status', data)}", TEMPORARY)
    document = answer.json()
    if answer.status_code != httpx2.codes.OK:
        code = NOT_FOUND if answer.status_code == httpx2.codes.NOT_FOUND else FAILED
        fail(f"{document['code']}: {document['detail']}", code)
    if as_json:
        show_json(document)
    else:
        print(f"Ended: {', '.join(document['ended'])}. The reader goes on within seconds.")


async def _asked(
    data: Path | None, services: Iterable[str], method: str, path: str, content: Any = None
) -> Mapping[str, httpx2.Response | None]:
    """Each service's answer; None where there is none."""
    installation = installed(data)

    async def ask(service: str) -> httpx2.Response | None:
        try:
            async with operator_client(installation, service) as client:
                return await client.request(method, path, json=content)
        except httpx2.TransportError:
            return None

    names = list(services)
    return dict(zip(names, await asyncio.gather(*map(ask, names)), strict=True))
