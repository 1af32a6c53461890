"""The stage process: reads its assignment, calls the stage's function, reports how it ended.

Everything it needs is in one directory that the supervisor prepared:
assignment.json, inputs by path, output/, scratch/, checkpoints/ and events.jsonl to append to.
"""

from __future__ import annotations

import errno
import json
import traceback
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from shared.resolve.explainer import explainer_settings
from shared.settings import Settings
from shared.stages.entry import stage_function
from shared.stages.stage import (
    DONE,
    FAILED_FOR_GOOD,
    HINDERED,
    LEFT,
    Hindered,
    Input,
    Leave,
    Stage,
    StageError,
)

CRASHED = 1
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# safetensors wraps the operating system's error and keeps only its text.
NO_SPACE_WORDS = tuple(f"os error {number}" for number in NO_SPACE)
NO_MEMORY = "out_of_memory"  # the cause under which a metric counts such a failure
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class AssignedInput(BaseModel):
    """An input artifact and its local directory."""

    key: str
    path: Path
    results: dict[str, Any]


class Assignment(BaseModel):
    """The content of assignment.json, which the supervisor writes."""

    key: str
    kind: str
    service: str
    parameters: dict[str, Any]
    inputs: dict[str, AssignedInput]
    uploads: dict[str, Path]
    resume: Path | None
    checkpoint_seconds: float


def main(directory: Path, package: str) -> int:
    """Run the assignment in `directory` by the services in `package`; returns the exit code."""
    assignment = Assignment.model_validate_json((directory / "assignment.json").read_bytes())
    with (directory / "events.jsonl").open("a") as events:
        stage = Stage(
            key=assignment.key,
            kind=assignment.kind,
            parameters=assignment.parameters,
            inputs={
                name: Input(given.key, given.path, given.results)
                for name, given in assignment.inputs.items()
            },
            output=directory / "output",
            scratch=directory / "scratch",
            checkpoints=directory / "checkpoints",
            events=events,
            uploads=assignment.uploads,
            resume=assignment.resume,
            checkpoint_seconds=assignment.checkpoint_seconds,
            explainer=explainer_settings(Settings()),
        )
        return _run(stage, package, assignment.service)


def _run(stage: Stage, package: str, service: str) -> int:
    stage.stop_on_sigterm()
    try:
        stage_function(package, service, stage.kind)(stage)
        results = json.loads(json.dumps(stage.results, allow_nan=False))
    except StageError as error:
        stage.emit("failed", reason=str(error), cause=error.cause)
        return FAILED_FOR_GOOD
    except Leave:
        return LEFT
    except Hindered as error:
        stage.emit("hindered", reason=str(error))
        return HINDERED
    except Exception as error:
        if no_space(error):
            stage.emit("hindered", reason=f"no space left on the worker ({error})")
            return HINDERED
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY):
            advice = "use smaller batches or models"
            stage.emit("failed", reason=f"out of memory ({reason}); {advice}", cause=NO_MEMORY)
            return FAILED_FOR_GOOD
        stage.emit("crashed", reason=reason)
        return CRASHED
    stage.emit("results", results=results, libraries=_libraries(), hardware=_hardware())
    return DONE


def no_space(error: BaseException) -> bool:
    """True when the error means that a disk is full."""
    number = error.errno if isinstance(error, OSError) else None
    return number in NO_SPACE or any(words in str(error) for words in NO_SPACE_WORDS)


def _libraries() -> dict[str, str]:
    """Versions of the numeric packages that this process has loaded."""
    import platform
    import sys

    found = {"python": platform.python_version()}
    for name in ("numpy", "scipy", "torch", "transformers", "tokenizers", "pyarrow", "safetensors"):
        if name in sys.modules:
            found[name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    return found


def _hardware() -> dict[str, Any]:
    import os
    import platform
    import sys

    hardware: dict[str, Any] = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        hardware["gpu"] = torch.cuda.get_device_name()
        hardware["gpu_peak_memory_bytes"] = torch.cuda.max_memory_allocated()
    return hardware
