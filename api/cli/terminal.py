"""What the commands share: options, consoles, exit codes, and a client of the server."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from api.cli.client import Client, Refused
from api.cli.patience import Unreachable
from api.embedded import EmbeddedError, installation
from shared.settings import Settings
from shared.spec import SPEC_LIMIT, load_spec
from shared.spec.errors import SpecError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

# Wide enough for a plan in a pipe or a log; a terminal has a width of its own.
out = Console(width=None if sys.stdout.isatty() else 140)
err = Console(stderr=True)

SpecFile = Annotated[Path, typer.Argument(help="Experiment, YAML or JSON.", show_default=False)]
DataDirectory = Annotated[Path, typer.Option(help="Store, queue and logs live here.")]
Server = Annotated[str | None, typer.Option(help="URL of a running server to use instead.")]
DATA = Path(".lineament")


def stop(code: int, *lines: str) -> NoReturn:
    """Print why, and exit with a code."""
    for line in lines:
        err.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def read_spec(path: Path) -> bytes:
    """The bytes of a valid spec; otherwise exits with code 2 and a sentence per problem."""
    try:
        with path.open("rb") as handle:
            text = handle.read(SPEC_LIMIT + 1)
        load_spec(text)
    except OSError as error:
        stop(BAD_INPUT, f"{path}: {error.strerror}")
    except SpecError as error:
        stop(BAD_INPUT, str(error))
    return text


def _say(line: str) -> None:
    err.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _client(url: str) -> Client:
    if not url.startswith(("http://", "https://")):
        stop(BAD_INPUT, f"--server: must be an http:// or https:// URL, not {url}")
    return Client(url, say=_say)


@contextmanager
def _exit_on_errors(interrupted: str) -> Iterator[None]:
    """Exit with a sentence and a code when something goes wrong with the server."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        stop(INTERRUPTED, interrupted)
    except (EmbeddedError, Unreachable) as error:
        stop(FAILED, str(error))
    except Refused as error:
        stop(BAD_INPUT, str(error))


@contextmanager
def connected(data: Path, server: str | None, port: int = 0) -> Iterator[Client]:
    """A client of the named server, or of the embedded installation over `data`.

    Ctrl-C and SIGTERM end it in order: stages write checkpoints, processes end, exit code 130. If a
    process of an installation that was started here dies, it is restarted while the client waits.
    """
    with _exit_on_errors("interrupted; the same command continues from here"):
        if server is not None:
            yield _client(server)
            return
        with installation(Settings(data=data), port) as (url, started):
            client = _client(url)
            if started is not None:
                client.tend = started.revive
            yield client


@contextmanager
def running(data: Path, server: str | None) -> Iterator[Client]:
    """A client of the named server, or of the one that runs over `data`; never starts one."""
    with _exit_on_errors("interrupted"):
        yield _client(server or _url_of(data))


def _url_of(data: Path) -> str:
    try:
        return str(json.loads((data / "server.json").read_text())["url"])
    except (OSError, ValueError, KeyError):
        stop(
            BAD_INPUT,
            f"no server runs over {data}: start one with `lineament serve`, "
            "or name one with --server",
        )
