"""The command line: `lineament run`, `serve`, `plan`, `upload`.

Exit codes: 0 complete, 1 a stage failed for good, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from api.client import Client, Refused
from api.embedded import EmbeddedError, Installation, installation
from api.planning import plan_locally
from api.tables import plan_table, result_tables
from api.watch import Watch
from shared.errors import SpecError
from shared.settings import Settings
from shared.spec import SPEC_LIMIT, load_spec

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Follow the features inside language models through fine-tuning and merging.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Wide enough for a plan where nobody watches (a pipe, a log); a terminal tells its own width.
out = Console(width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True)

SpecFile = Annotated[Path, typer.Argument(help="Experiment, YAML or JSON.", show_default=False)]
DataDirectory = Annotated[Path, typer.Option(help="Store, queue and logs live here.")]
Server = Annotated[str | None, typer.Option(help="URL of a running server to use instead.")]
DATA = Path(".lineament")


def stop(code: int, *lines: str) -> NoReturn:
    """Say why, and leave with a code."""
    for line in lines:
        err.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def read_spec(path: Path) -> bytes:
    """The bytes of a valid spec; leaves with code 2 and a sentence per problem otherwise."""
    try:
        with path.open("rb") as handle:
            text = handle.read(SPEC_LIMIT + 1)
        load_spec(text)
    except OSError as error:
        stop(BAD_INPUT, f"{path}: {error.strerror}")
    except SpecError as error:
        stop(BAD_INPUT, str(error))
    return text


@contextmanager
def connected(data: Path, server: str | None, port: int = 0) -> Iterator[Client]:
    """A client of the named server, or of the embedded installation over `data`.

    Ctrl-C and SIGTERM end it in order: stages checkpoint, processes go, exit code 130.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if server is not None:
            yield Client(server)
            return
        with installation(Settings(data=data), port) as (url, _):
            yield Client(url)
    except KeyboardInterrupt:
        stop(INTERRUPTED, "interrupted; the same command goes on from here")
    except EmbeddedError as error:
        stop(FAILED, str(error))
    except Refused as error:
        stop(BAD_INPUT, str(error))


@app.command()
def run(
    spec: SpecFile,
    data: DataDirectory = DATA,
    report: Annotated[Path, typer.Option(help="Where the report is written.")] = Path("report"),
    server: Server = None,
) -> None:
    """Run an experiment to its end, show progress, write the report."""
    text = read_spec(spec)
    with connected(data, server) as client:
        experiment = client.submit(text)
        number = experiment["id"]
        if experiment["state"] in ("failed", "cancelled"):
            client.retry(number)
        state = Watch(client, out).follow(number)
        stages = client.stages(number)
        if state != "complete":
            failed = [one for one in stages if one["state"] == "failed"]
            lines = [f"{one['title']}: {one['reason']}" for one in failed]
            stop(FAILED, f"{number} is {state}", *lines)
        key = next(stage["key"] for stage in stages if stage["kind"] == "report")
        save_report(client, key, report)


def save_report(client: Client, key: str, directory: Path) -> None:
    """Write the report's files, print its tables and name the page."""
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
    out.print(plan_table(planned.model_dump()))
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
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8000,
) -> None:
    """Run the embedded installation until it is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with installation(Settings(data=data), port) as (url, mine):
            if mine is None:
                stop(BAD_INPUT, f"{data} is served already at {url}")
            out.print(f"Lineament is at {url} (Ctrl-C stops it)", highlight=False)
            keep_alive(mine)
    except EmbeddedError as error:
        stop(FAILED, str(error))
    except OSError as error:
        stop(BAD_INPUT, f"port {port}: {error.strerror}")
    except KeyboardInterrupt:
        out.print("stopped")


def keep_alive(mine: Installation) -> NoReturn:
    """Start processes again that die, until interrupted."""
    while True:
        mine.revive()
        time.sleep(1)


def main() -> None:
    """Entry point of the `lineament` command."""
    app()
