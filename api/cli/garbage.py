"""`lineament gc`: what the store holds and nobody needs any more."""

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
    "attempt": "files of attempts that did not count",
    "checkpoint": "checkpoints that nobody goes on from",
    "artifact": "artifacts that no experiment uses",
    "upload": "uploads without a name that no experiment uses",
    "note": "notes on requests, probes",
}

garbage = typer.Typer()


def seconds(age: str) -> float:
    """Seconds of an age such as 12h, 7d or 2w; leaves with code 2 when it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", age)
    if found is None:
        stop(BAD_INPUT, f"--age: a number and h, d or w, such as 7d; not {age!r}")
    return float(found[1]) * UNITS[found[2]]


@garbage.command()
def gc(
    data: DataDirectory = DATA,
    age: Annotated[str, typer.Option(help="Nothing younger goes: 12h, 7d, 2w.")] = "7d",
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; else only list.")] = False,
    every: Annotated[bool, typer.Option("--all", help="A line for each thing found.")] = False,
) -> None:
    """List, and with --delete remove, what no experiment needs. Safe while workers run.

    Looks at the store that the LINEAMENT_* settings name, or at the one in --data.
    """
    try:
        collector = Collector(Settings(data=data).open_store(prove=False), seconds(age))
        found = list(collector.find())
        out.print(summary(found))
        if every:
            out.print(listing(found))
        if delete:
            out.print(f"removed {collector.remove(found):,} bytes", highlight=False)
        elif found:
            out.print("nothing was removed; --delete does it", highlight=False)
    except ValueError as error:
        stop(BAD_INPUT, f"--{error}")
    except (StoreError, OtherReleaseError) as error:
        stop(FAILED, str(error))


def summary(found: list[Garbage]) -> Table:
    """How much there is of each kind."""
    table = Table("what", box=SIMPLE_HEAD)
    table.add_column("number", justify="right")
    table.add_column("bytes", justify="right")
    numbers = Counter(one.kind for one in found)
    for kind, title in KINDS.items():
        size = sum(one.bytes for one in found if one.kind == kind)
        table.add_row(title, f"{numbers[kind]:,}", f"{size:,}")
    return table


def listing(found: list[Garbage]) -> Table:
    """A line for each thing that can go."""
    table = Table("kind", "what", box=SIMPLE_HEAD)
    table.add_column("bytes", justify="right")
    table.add_column("days old", justify="right")
    for one in found:
        table.add_row(one.kind, one.title, f"{one.bytes:,}", f"{one.age / 86_400:.1f}")
    return table
