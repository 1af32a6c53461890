"""The command line: `lineament run`, `serve`, `plan`, `upload`, and what api.cli.commands adds.

Exit codes: 0 complete, 1 a stage failed for good, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from api.cli.client import Client
from api.cli.commands import commands
from api.cli.follow import Watch
from api.cli.garbage import garbage
from api.cli.tables import plan_table, plan_totals, result_tables
from api.cli.terminal import (
    BAD_INPUT,
    DATA,
    FAILED,
    DataDirectory,
    Server,
    SpecFile,
    connected,
    err,
    out,
    read_spec,
    stop,
)
from api.embedded import LOOPBACK, EmbeddedError, Installation, installation
from api.experiments.planning import plan_locally
from api.security.startup import AddressError, check_address
from shared.api_keys import key_hash, new_key, parse_keys
from shared.settings import Settings, SettingsError
from shared.spec.errors import SpecError

app = typer.Typer(
    help="Follow the features inside language models through fine-tuning and merging.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(commands)
app.add_typer(garbage)


@app.command()
def run(
    spec: SpecFile,
    data: DataDirectory = DATA,
    report: Annotated[Path, typer.Option(help="Directory for the report.")] = Path("report"),
    server: Server = None,
) -> None:
    """Run an experiment to its end, show its progress and write its report."""
    text = read_spec(spec)
    with connected(data, server) as client:
        experiment = client.submit(text)
        number = experiment["id"]
        if experiment["state"] in ("failed", "cancelled"):
            client.retry(number)
        state = Watch(client, out).follow(number)
        stages = client.stages(number)
        if state != "complete":
            failed = [stage for stage in stages if stage["state"] == "failed"]
            lines = [f"{stage['title']}: {stage['reason']}" for stage in failed]
            stop(FAILED, f"{number} is {state}", *lines)
        key = next(stage["key"] for stage in stages if stage["kind"] == "report")
        save_report(client, key, report)


def save_report(client: Client, key: str, directory: Path) -> None:
    """Write the report's files, print its tables and the path of its page."""
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    client.save_artifact(key, part)
    shutil.rmtree(directory, ignore_errors=True)
    part.rename(directory)
    for table in result_tables(json.loads((directory / "results.json").read_text())):
        out.print(table)
    out.print(f"report: {directory / 'report.html'}", soft_wrap=True, highlight=False)


@app.command()
def plan(
    spec: SpecFile,
    data: DataDirectory = DATA,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Print the stages of an experiment: inputs, keys, what exists already, tokens and FLOPs."""
    text = read_spec(spec)
    try:
        planned = plan_locally(text, Settings(data=data))
    except SpecError as error:
        stop(BAD_INPUT, str(error))
    if as_json:
        sys.stdout.write(planned.model_dump_json(indent=1) + "\n")
        return
    shown = planned.model_dump()
    out.print(plan_table(shown))
    out.print(plan_totals(shown["totals"]), highlight=False)
    if planned.provisional:
        out.print("the hub did not answer: nothing is pinned, so these keys will change")


@app.command()
def upload(
    name: Annotated[str, typer.Argument(help="Name that specs will use.")],
    file: Annotated[Path, typer.Argument(help="JSONL, Parquet, text, zip or tar.")],
    data: DataDirectory = DATA,
    server: Server = None,
    text_column: Annotated[str, typer.Option(help="Key or column of the text.")] = "text",
) -> None:
    """Upload a corpus (or tokenizer.json, or a model archive) for specs to use."""
    if not file.is_file():
        stop(BAD_INPUT, f"{file}: no such file")
    with connected(data, server) as client:
        info = client.upload(name, file, text_column)
    out.print(f"{info['name']}: {info['format']}, {info['bytes']} bytes, sha256 {info['digest']}")


@app.command()
def serve(
    data: DataDirectory = DATA,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs API keys.")
    ] = LOOPBACK,
) -> None:
    """Run the embedded installation until it is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(data=data)
    try:
        check_address(settings, host)
        with installation(settings, port, host) as (url, started):
            if started is None:
                stop(BAD_INPUT, f"{data} is already served at {url}")
            out.print(f"Lineament is at {url} (Ctrl-C stops it)", highlight=False)
            keep_alive(started)
    except EmbeddedError as error:
        stop(FAILED, str(error))
    except AddressError as error:
        stop(BAD_INPUT, str(error))
    except OSError as error:
        stop(BAD_INPUT, f"{host} port {port}: {error.strerror}")
    except KeyboardInterrupt:
        out.print("stopped")


def keep_alive(started: Installation) -> NoReturn:
    """Restart processes that die, until interrupted."""
    while True:
        started.revive()
        time.sleep(1)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Name of its holder, who owns what it submits.")],
    scope: Annotated[
        list[str], typer.Option(help="read, submit (includes read) or admin (includes both).")
    ] = ["submit"],  # noqa: B006
) -> None:
    """Make an API key: print it once, with the entry for it in LINEAMENT_API_KEYS."""
    secret = new_key()
    entry = {"name": name, "sha256": key_hash(secret), "scopes": scope}
    try:
        parse_keys(json.dumps([entry]))
    except ValueError as error:
        stop(BAD_INPUT, str(error).removeprefix("0."))
    err.print("The key, shown only now:", highlight=False)
    sys.stdout.write(f"{secret}\n")
    err.print("Its entry in the list of LINEAMENT_API_KEYS:", highlight=False)
    sys.stdout.write(f"{json.dumps(entry)}\n")


def main() -> None:
    """Entry point of the `lineament` command."""
    try:
        app()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(BAD_INPUT) from None
