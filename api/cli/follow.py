"""Progress of an experiment in a terminal: a bar for the whole, one for each running stage."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from api.cli.client import ENDED, Client
from api.cli.sse import Event

TEND = 1.0  # seconds between two calls of the client's `tend`
SHOWN_SCALARS = ("loss", "accuracy", "l0", "explained_variance")
MARKS = {"done": "[green]done[/]", "failed": "[red]failed[/]", "blocked": "[yellow]blocked[/]"}


def _scalars(progress: dict[str, Any]) -> str:
    """The scalars that are worth showing, such as "loss 3.21  41k tokens/s"."""
    parts = [f"{name} {progress[name]:.3g}" for name in SHOWN_SCALARS if name in progress]
    rates = [name for name in progress if name.endswith("_per_second")]
    parts += [f"{_short(progress[name])} {name.removesuffix('_per_second')}/s" for name in rates]
    return "  ".join(parts)


def _short(value: float) -> str:
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def _tended(client: Client, number: str) -> Iterator[Event]:
    """The experiment's events, read by another thread so that this one can call `tend` and be
    interrupted.
    """
    arrived: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()

    def read() -> None:
        try:
            for event in client.events(number):
                arrived.put(event)
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    threading.Thread(target=read, daemon=True).start()
    tended = time.monotonic()
    while True:
        if time.monotonic() - tended >= TEND:
            client.tend()
            tended = time.monotonic()
        try:
            event = arrived.get(timeout=TEND)
        except queue.Empty:
            continue
        if event is None:
            return
        if isinstance(event, BaseException):
            raise event
        yield event


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
        self._stages: dict[str, dict[str, Any]] = {}
        self._initial: list[dict[str, Any]] | None = []  # stages of the first look; None after it

    def follow(self, number: str) -> str:
        """Show progress until the experiment ends; returns its state.

        Raises Refused when the experiment was deleted, Unreachable when the server does not return.
        """
        with self._progress:
            whole = self._progress.add_task(number, unit="stages", scalars="")
            for event in _tended(self._client, number):
                match event.name:
                    case "stage":
                        self._show_stage(event.data)
                    case "progress":
                        self._show_progress(event.data)
                    case "experiment":
                        self._print_initial()
                        done, total = event.data["counts"]["done"], event.data["stages"]
                        self._progress.update(whole, completed=done, total=total)
                        if event.data["state"] in ENDED:
                            return str(event.data["state"])
        raise AssertionError("the events of an experiment end with its state")

    def _show_stage(self, stage: dict[str, Any]) -> None:
        """Show the new state of a stage; after a cut connection it may be the one shown already."""
        key, state = stage["key"], stage["state"]
        before = self._stages.get(key)
        self._stages[key] = stage
        if state == "running" and key not in self._bars:
            self._bars[key] = self._progress.add_task(
                stage["title"], unit="", scalars="", total=None
            )
        elif state != "running" and key in self._bars:
            self._progress.remove_task(self._bars.pop(key))
        if self._initial is not None:
            self._initial.append(stage)
        elif before is None or before["state"] != state:
            self._print_ending(stage)

    def _print_initial(self) -> None:
        """Print how many stages had ended before this command watched, and which of them failed."""
        if self._initial is None:
            return
        ended = [stage for stage in self._initial if stage["state"] in MARKS]
        self._initial = None
        if ended:
            self._console.print(f"{len(ended)} stages had ended before")
        for stage in ended:
            if stage["state"] != "done":
                self._print_ending(stage)

    def _print_ending(self, stage: dict[str, Any]) -> None:
        """Print a line for a stage that has ended."""
        mark = MARKS.get(stage["state"])
        if mark is None:
            return
        seconds = f" in {stage['seconds']:.1f} s" if stage["seconds"] is not None else ""
        reason = f": {escape(stage['reason'])}" if stage["reason"] else ""
        self._console.print(f"{mark} {stage['title']}{seconds}{reason}", highlight=False)

    def _show_progress(self, running: dict[str, dict[str, Any]]) -> None:
        for key, progress in running.items():
            if key in self._bars:
                self._progress.update(
                    self._bars[key],
                    completed=int(progress.get("done", 0)),
                    total=int(progress["total"]) if progress.get("total") else None,
                    unit=progress.get("unit", ""),
                    scalars=_scalars(progress),
                )
