"""`concert topology show|plan|apply`: the contract's table of topics, and the brokers beside it."""

import typer

from schemas.topics import SERVICES, TOPICS, VIEWS
from services.cli.installed import DataDirectory, installed
from services.cli.talk import CONFLICT, AsJson, command, say, show

app = typer.Typer()


@app.command("show")
def show_table(as_json: AsJson = False) -> None:
    """Examples: `concert topology show`, `concert topology show --json`.

    Prints every topic with its writer and readers, as the contract has them; asks no broker.
    """
    topics = (*TOPICS, *(changelog for view in VIEWS for changelog in view.changelogs))
    readers = {
        topic: [*topic.readers, *(view.user for view in VIEWS if view.source is topic)] for topic in topics
    }
    rows = [
        {
            "name": topic.name(),
            "writer": topic.writer,
            "readers": readers[topic],
            "classification": topic.classification,
            "partitions": topic.partitions,
            "partitions_local": topic.partitions_local,
            "settings": dict(topic.settings()),
        }
        for topic in topics
    ]
    lines = [f"{one.name():<56} {one.writer:<16} -> {', '.join(readers[one])}" for one in topics]
    show({"users": [*SERVICES, *(view.user for view in VIEWS)], "topics": rows}, lines, as_json=as_json)


@app.command("plan")
def plan(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert topology plan`, `concert topology plan --json`.

    Says how the brokers differ from the table; exit 5 if they do.
    """
    from deploy.local.provisioning import plan_topology

    differences = [str(each) for each in plan_topology(installed(data))]
    lines = differences or ["The brokers are as the table says."]
    show({"differences": differences}, lines, as_json=as_json)
    if differences:
        say(f"Next: {command('topology apply', data)}.")
        raise typer.Exit(CONFLICT)


@app.command("apply")
def apply(data: DataDirectory = None, as_json: AsJson = False) -> None:
    """Examples: `concert topology apply`.

    Makes the brokers as the table says; what needs a person's decision is left and named, with exit 5.
    """
    from deploy.local.provisioning import apply_topology

    changed, left = ([str(each) for each in part] for part in apply_topology(installed(data)))
    lines = [f"changed: {each}" for each in changed] or ["Nothing had to be changed."]
    lines += [f"left: {each}" for each in left]
    show({"changed": changed, "left": left}, lines, as_json=as_json)
    if left:
        say(
            "What is left loses records or order when it is changed; make a new version of the topic instead."
        )
        raise typer.Exit(CONFLICT)
