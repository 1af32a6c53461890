"""`lineament gc`: lists and removes what the store holds and no experiment needs any more."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from api.cli.terminal import BAD_INPUT, DATA, FAILED, DataDirectory, out, stop
from shared.experiments.garbage import Collector, Garbage, Kind
from shared.records.releases import OtherReleaseError
from shared.settings import Settings
from shared.store import StoreError

UNITS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
KINDS: dict[Kind, str] = {
    "attempt": "files of attempts that were not committed",
    "checkpoint": "checkpoints that no attempt will resume from",
    "artifact": "artifacts that no experiment uses",
    "upload": "uploads without a name that no experiment uses",
    "note": "records of requests, probes",
}

garbage = typer.Typer()


def seconds(age: str) -> float:
    """The seconds of an age such as 12h, 7d or 2w; exits with code 2 when it is not an age."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", age)
    if match is None:
        stop(BAD_INPUT, f"--age: must be a number followed by h, d or w, such as 7d, not {age!r}")
    return float(match[1]) * UNITS[match[2]]


@garbage.command()
def gc(
    data: DataDirectory = DATA,
    age: Annotated[str, typer.Option(help="Keep what is younger: 12h, 7d, 2w.")] = "7d",
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is listed.")] = False,
    every: Annotated[bool, typer.Option("--all", help="List every item by itself.")] = False,
) -> None:
    """List, and with --delete remove, what no experiment needs. Safe while workers run.

    Works on the store that the LINEAMENT_* settings name, or on the one in --data.
    """
    try:
        collector = Collector(Settings(data=data).open_store(prove=False), seconds(age))
        items = list(collector.find())
        out.print(summary(items))
        if every:
            out.print(listing(items))
        if delete:
            out.print(f"removed {collector.remove(items):,} bytes", highlight=False)
        elif items:
            out.print("nothing was removed; use --delete to remove it", highlight=False)
    except ValueError as error:
        stop(BAD_INPUT, f"--{error}")
    except (StoreError, OtherReleaseError) as error:
        stop(FAILED, str(error))


def summary(items: list[Garbage]) -> Table:
    """A table of the number and bytes of each kind."""
    table = Table("what", box=SIMPLE_HEAD)
    table.add_column("number", justify="right")
    table.add_column("bytes", justify="right")
    numbers = Counter(item.kind for item in items)
    for kind, title in KINDS.items():
        size = sum(item.bytes for item in items if item.kind == kind)
        table.add_row(title, f"{numbers[kind]:,}", f"{size:,}")
    return table


def listing(items: list[Garbage]) -> Table:
    """A table with a row for each item that can be removed."""
    table = Table("kind", "what", box=SIMPLE_HEAD)
    table.add_column("bytes", justify="right")
    table.add_column("days old", justify="right")
    for item in items:
        table.add_row(item.kind, item.title, f"{item.bytes:,}", f"{item.age / 86_400:.1f}")
    return table
