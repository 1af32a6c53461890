"""Commands over a running server: `submit`, `list`, `status`, `cancel`, `retry`, `logs`."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from api.cli.client import Client
from api.cli.tables import experiments_table, stages_table
from api.cli.terminal import (
    BAD_INPUT,
    DATA,
    DataDirectory,
    Server,
    SpecFile,
    out,
    read_spec,
    running,
    stop,
)

commands = typer.Typer()

Number = Annotated[
    str, typer.Argument(metavar="ID", help="Id of an experiment.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def _write(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


@commands.command()
def submit(spec: SpecFile, data: DataDirectory = DATA, server: Server = None) -> None:
    """Submit an experiment and print its id; it keeps running after this command ends."""
    text = read_spec(spec)
    with running(data, server) as client:
        sys.stdout.write(f"{client.submit(text)['id']}\n")


@commands.command("list")
def list_experiments(
    data: DataDirectory = DATA,
    server: Server = None,
    state: Annotated[
        list[str] | None, typer.Option(help="running, complete, failed or cancelled; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Text in the name.")] = None,
    owner: Annotated[str | None, typer.Option(help="Name of the API key.")] = None,
    most: Annotated[int, typer.Option("--most", "-n", min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List experiments, newest first."""
    with running(data, server) as client:
        listed, unreadable = client.experiments(most, state=state or None, name=name, owner=owner)
    if as_json:
        _write(listed)
    else:
        out.print(experiments_table(listed))
        for sentence in unreadable:
            out.print(sentence, highlight=False, markup=False)


@commands.command()
def status(
    number: Number, data: DataDirectory = DATA, server: Server = None, as_json: AsJson = False
) -> None:
    """Show an experiment and its stages."""
    with running(data, server) as client:
        experiment, stages = client.experiment(number), client.stages(number)
    if as_json:
        _write(experiment | {"stages": stages})
    else:
        out.print(stages_table(experiment, stages))


@commands.command()
def cancel(number: Number, data: DataDirectory = DATA, server: Server = None) -> None:
    """Cancel an experiment; finished stages are kept."""
    with running(data, server) as client:
        out.print(f"{number} is {client.cancel(number)['state']}", highlight=False)


@commands.command()
def retry(number: Number, data: DataDirectory = DATA, server: Server = None) -> None:
    """Resume a failed or cancelled experiment from what exists."""
    with running(data, server) as client:
        out.print(f"{number} is {client.retry(number)['state']}", highlight=False)


@commands.command()
def logs(
    number: Number,
    stage: Annotated[str, typer.Argument(help="Key of a stage, or its beginning, or its title.")],
    data: DataDirectory = DATA,
    server: Server = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing until the attempt ends.")
    ] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only this many last lines.")] = None,
    attempt: Annotated[str | None, typer.Option(help="An attempt; the last by default.")] = None,
) -> None:
    """Print the log of a stage."""
    with running(data, server) as client:
        for piece in client.log(number, find_stage(client, number, stage), attempt, tail, follow):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def find_stage(client: Client, number: str, word: str) -> str:
    """The key of the one stage with that title or beginning of a key; exits with code 2 when no
    stage or several have it.
    """
    stages = client.stages(number)
    matches = [stage for stage in stages if stage["title"] == word or stage["key"].startswith(word)]
    if not word or len(matches) != 1:
        names = ", ".join(f"{stage['title']} ({stage['key'][:8]})" for stage in matches[:5])
        several = f"stage: {word} may be {names}"
        stop(BAD_INPUT, several if names else f"stage: there is no {word}")
    return str(matches[0]["key"])
