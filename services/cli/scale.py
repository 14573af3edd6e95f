"""`--scale SERVICE=N`: how many processes of a service run, as a person says it."""

from collections.abc import Sequence
from typing import Annotated

import typer

from deploy.local.configuration import Configuration
from deploy.local.processes import check_scale

Scale = Annotated[
    list[str] | None,
    typer.Option("--scale", metavar="SERVICE=N", help="Run N processes of a service; repeatable."),
]


def scale_of(words: Sequence[str]) -> dict[str, int]:
    """The numbers of processes that were asked for."""
    found = {}
    for word in words:
        service, _, count = word.partition("=")
        if not (count.isascii() and count.isdigit() and len(count) < 4):
            raise typer.BadParameter("SERVICE=N, such as health=2", param_hint="--scale")
        found[service] = int(count)
    return found


def scaled(configuration: Configuration, words: Sequence[str] | None) -> Configuration:
    """The configuration with these numbers, which hold at later starts too."""
    if not words:
        return configuration
    found = configuration.model_copy(update={"scale": {**configuration.scale, **scale_of(words)}})
    check_scale(found)
    return found
