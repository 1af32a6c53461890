"""Stages that succeed, fail, crash, hang, or count slowly with checkpoints."""

from __future__ import annotations

import errno
import os
import signal
import time
from functools import partial
from pathlib import Path

from shared.stages.stage import Stage, StageError

STAGES = {
    "add": "tests.support.fake_services.fake:add",
    "refuse": "tests.support.fake_services.fake:refuse",
    "crash": "tests.support.fake_services.fake:crash",
    "die": "tests.support.fake_services.fake:die",
    "sleep": "tests.support.fake_services.fake:sleep",
    "count": "tests.support.fake_services.fake:count",
    "full": "tests.support.fake_services.fake:full",
    "talk": "tests.support.fake_services.fake:talk",
}
PRELOAD = ("numpy",)


def add(stage: Stage) -> None:
    """The sum of the inputs' sums and the parameter `value`, written down twice."""
    total = stage.parameters["value"] + sum(one.results["sum"] for one in stage.group("part"))
    for one in stage.group("part"):
        assert (one.path / "sum.txt").read_text() == str(one.results["sum"])
    (stage.output / "sum.txt").write_text(str(total))
    print("added", total)
    stage.results["sum"] = total


def refuse(stage: Stage) -> None:
    """A stage that can never succeed."""
    raise StageError("corpora.lua: has no text")


def crash(stage: Stage) -> None:
    """An unexpected error."""
    raise RuntimeError("boom")


def die(stage: Stage) -> None:
    """What the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(stage: Stage) -> None:
    """Ignores every request to leave."""
    time.sleep(stage.parameters["seconds"])


def full(stage: Stage) -> None:
    """What a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def talk(stage: Stage) -> None:
    """Says something now and then."""
    for number in range(stage.parameters["lines"]):
        print("line", number)
        time.sleep(stage.parameters["pause"])


def count(stage: Stage) -> None:
    """Counts to `to`, a checkpoint at each number, slowly."""
    number = int((stage.resume / "number").read_text()) if stage.resume else 0
    stage.results["started_from"] = number
    while number < stage.parameters["to"]:
        time.sleep(stage.parameters["pause"])
        number += 1
        stage.progress(number, stage.parameters["to"], "numbers", loss=1 / number)
        if stage.checkpoint_due():
            stage.save_checkpoint(number, partial(_note, number))
            stage.leave_if_asked()
    (stage.output / "number").write_text(str(number))


def _note(number: int, path: Path) -> None:
    (path / "number").write_text(str(number))
