"""`concert WORD …`: a table of words; the file of a word is imported only when that word is asked for."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Final

import typer

from services.cli.talk import failures_told
from services.runtime.version import version as current

COMPLETED: Final = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")

EVERY_DAY, OPERATORS, DEVELOPERS = "Every day", "Operators", "Developers"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the command, and the module whose `app` knows it."""

    name: str
    module: str
    panel: str
    sentence: str
    is_noun: bool = False
    """A noun is followed by a verb; the others stand alone."""


WORDS: Final = (
    Word("demo", "demo.command", EVERY_DAY, "Play the main job in a temporary place, and check it."),
    Word("up", "platform", EVERY_DAY, "Start everything on this machine."),
    Word("status", "status", EVERY_DAY, "Ask every part, and say which rule fired."),
    Word("down", "platform", EVERY_DAY, "Stop what `up` started."),
    Word("scale", "platform", OPERATORS, "More or fewer processes of a service, while it runs."),
    Word("agencies", "governance", OPERATORS, "Admit agencies, and list them.", is_noun=True),
    Word("governance", "governance", OPERATORS, "The founding act; holders' keys; signing.", is_noun=True),
    Word("services", "governance", OPERATORS, "Publish sector services' keys, and list them.", is_noun=True),
    Word("protocols", "governance", OPERATORS, "List the sharing protocols in force.", is_noun=True),
    Word("partnership", "partnership", OPERATORS, "Whether it keeps its word, as a page.", is_noun=True),
    Word("directory", "directory", OPERATORS, "Import the service directory.", is_noun=True),
    Word("topology", "topology", OPERATORS, "Topics, users and rights on the brokers.", is_noun=True),
    Word("dead-letters", "dead_letters", OPERATORS, "Records that services set aside.", is_noun=True),
    Word("readers", "readers", OPERATORS, "Partitions that stopped, and letting them go on.", is_noun=True),
    Word("operators", "operators", OPERATORS, "Who may come to the console, and as what.", is_noun=True),
    Word("offsets", "offsets", OPERATORS, "Have a reader go back, or skip records.", is_noun=True),
    Word("plans", "plans", OPERATORS, "What was planned, confirmed, approved and done.", is_noun=True),
    Word("lag", "lag", OPERATORS, "How far readers are behind, in records and seconds."),
    Word("logs", "logs", OPERATORS, "What a part wrote, in the order of time."),
    Word("refill", "refill", OPERATORS, "Let a service send again what brokers lost."),
    Word("backup", "backup", OPERATORS, "Copy all databases, and the secrets for one recipient."),
    Word("backup-key", "backup", OPERATORS, "Make the key that backups' secrets are sealed to."),
    Word("restore", "restore", OPERATORS, "Put a backup in the place of what there is."),
    Word("serve", "restore", OPERATORS, "Let what was put back serve without a neighbour."),
    Word("packets", "packets", OPERATORS, "Pull field groups, and open them.", is_noun=True),
    Word("cases", "cases", OPERATORS, "Who holds what; another consent; erasure.", is_noun=True),
    Word("views", "views", OPERATORS, "Figures that are made of facts, and making them again.", is_noun=True),
    Word("trail", "trail", OPERATORS, "Export the access trail, and verify it.", is_noun=True),
    Word("vault", "vault", OPERATORS, "Sectors' vaults: how they are, and new keys.", is_noun=True),
    Word("token", "tokens", OPERATORS, "Print an access token of the local issuer."),
    Word("test", "development", DEVELOPERS, "Run the tests of every kind."),
    Word("fault", "development", DEVELOPERS, "Strike a trial installation under load; see what is left."),
    Word("dev", "development", DEVELOPERS, "Check the code, test one kind, write the schemas.", is_noun=True),
)

EPILOG: Final = (
    "Data goes to stdout, talk to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 not authorised, "
    "4 not found, 5 conflict, 6 temporary (try again), 7 verification failed, 130 interrupted."
)


def application(arguments: Sequence[str]) -> typer.Typer:
    """The command with the word that is asked for; the others have their sentence only."""
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Examples: `concert demo`, `concert up --detach`, `concert test`.\n\n"
        "Concert lets the agencies that answer violence against women and girls act together.",
        epilog=EPILOG,
    )
    app.callback()(_whole)
    for word in WORDS:
        if word.name == asked:
            _mount(app, word)
        else:
            app.command(word.name, help=word.sentence, rich_help_panel=word.panel)(_nothing)
    return app


def _version(is_asked: bool) -> None:
    if is_asked:
        print(f"concert {current()}")
        raise typer.Exit


def _nothing() -> None:
    return None


def _whole(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Which version this is.")
    ] = False,
) -> None:
    return None


def _mount(app: typer.Typer, word: Word) -> None:
    module = import_module(f"services.cli.{word.module}")
    if word.is_noun:
        noun: typer.Typer = getattr(module, word.name.replace("-", "_"), None) or module.app
        app.add_typer(noun, name=word.name, help=word.sentence, no_args_is_help=True)
    else:
        app.registered_commands += [each for each in module.app.registered_commands if each.name == word.name]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; named failures end with their sentence and exit code, never with a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # A shell that completes gives the words that stand on its line in a variable, with `concert` itself.
    line = next((os.environ[name] for name in COMPLETED if name in os.environ), "")
    with failures_told():
        application(given or line.split()[1:])(given, prog_name="concert")


if __name__ == "__main__":
    main()
