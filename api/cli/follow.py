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

TEND = 1.0  # seconds between two times that the client is asked to tend
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


def _tended(client: Client, number: str) -> Iterator[Event]:
    """The experiment's events, read by a thread, so that this one can tend and be interrupted."""
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
        self._first: list[dict[str, Any]] | None = []  # stages of the first look, until it ends

    def follow(self, number: str) -> str:
        """Show progress until the experiment ends; returns its state.

        Refused when somebody deleted it, Unreachable when the server went away for good.
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
                        self._tell_first()
                        done, total = event.data["counts"]["done"], event.data["stages"]
                        self._progress.update(whole, completed=done, total=total)
                        if event.data["state"] in ENDED:
                            return str(event.data["state"])
        raise AssertionError("the events of an experiment end with its state")

    def _show_stage(self, stage: dict[str, Any]) -> None:
        """A stage has another state. After a cut the same may be said again."""
        key, state = stage["key"], stage["state"]
        before = self._stages.get(key)
        self._stages[key] = stage
        if state == "running" and key not in self._bars:
            self._bars[key] = self._progress.add_task(
                stage["title"], unit="", scalars="", total=None
            )
        elif state != "running" and key in self._bars:
            self._progress.remove_task(self._bars.pop(key))
        if self._first is not None:
            self._first.append(stage)
        elif before is None or before["state"] != state:
            self._tell(stage)

    def _tell_first(self) -> None:
        """What had ended before anybody watched, in a line."""
        if self._first is None:
            return
        ended = [one for one in self._first if one["state"] in MARKS]
        self._first = None
        if ended:
            self._console.print(f"{len(ended)} stages are there already")
        for one in ended:
            if one["state"] != "done":
                self._tell(one)

    def _tell(self, stage: dict[str, Any]) -> None:
        """One line for a stage that ended."""
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
