"""Progress of an experiment in a terminal: a bar for the whole, one for each running stage."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from api.client import Client

LOOK = 0.5  # seconds between two looks
ENDED = ("complete", "failed", "cancelled")
SHOWN_SCALARS = ("loss", "accuracy", "l0", "explained_variance")
MARKS = {"done": "[green]done[/]", "failed": "[red]failed[/]", "blocked": "[yellow]blocked[/]"}


def _scalars(progress: dict[str, Any]) -> str:
    """The scalars worth a place on the line, e.g. "loss 3.21  41k tokens/s"."""
    parts = [f"{name} {progress[name]:.3g}" for name in SHOWN_SCALARS if name in progress]
    rates = [name for name in progress if name.endswith("_per_second")]
    parts += [f"{_short(progress[name])} {name.removesuffix('_per_second')}/s" for name in rates]
    return "  ".join(parts)


def _short(value: float) -> str:
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


class Watch:
    """Follows one experiment until it ends."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scalars]}", style="cyan"),
            console=console,
            transient=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._told: set[str] = set()

    def follow(self, number: str) -> str:
        """Show progress until the experiment ends; returns its state."""
        with self._progress:
            whole = self._progress.add_task(number, unit="stages", scalars="")
            first = True
            while True:
                state: str = self._client.experiment(number)["state"]
                stages = self._client.stages(number)
                self._tell(stages, first)
                self._show_running(stages)
                done = sum(stage["state"] == "done" for stage in stages)
                self._progress.update(whole, completed=done, total=len(stages))
                if state in ENDED:
                    return state
                first = False
                time.sleep(LOOK)

    def _tell(self, stages: list[dict[str, Any]], first: bool) -> None:
        """One line for every stage that ended since the last look."""
        ended = [one for one in stages if one["state"] in MARKS and one["key"] not in self._told]
        self._told |= {one["key"] for one in ended}
        if first and ended:
            self._console.print(f"{len(ended)} stages are there already")
            ended = [one for one in ended if one["state"] != "done"]
        for one in ended:
            mark = MARKS[one["state"]]
            seconds = f" in {one['seconds']:.1f} s" if one["seconds"] is not None else ""
            reason = f": {one['reason']}" if one["reason"] else ""
            self._console.print(f"{mark} {one['title']}{seconds}{reason}", highlight=False)

    def _show_running(self, stages: list[dict[str, Any]]) -> None:
        running = {one["key"]: one for one in stages if one["state"] == "running"}
        for key in self._bars.keys() - running.keys():
            self._progress.remove_task(self._bars.pop(key))
        for key, one in running.items():
            if key not in self._bars:
                self._bars[key] = self._progress.add_task(one["title"], unit="", scalars="")
            progress = one["progress"] or {}
            self._progress.update(
                self._bars[key],
                completed=int(progress.get("done", 0)),
                total=int(progress["total"]) if progress.get("total") else None,
                unit=progress.get("unit", ""),
                scalars=_scalars(progress),
            )
