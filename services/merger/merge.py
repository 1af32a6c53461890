"""A model combined from others, written as a Hugging Face directory."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from services.merger.methods import method_of
from services.merger.methods.base import Combine
from services.merger.parents import check_parents
from services.merger.tensors import Layout, Writer, read
from shared.lm.device import set_threads
from shared.lm.save import copy_tokenizer
from shared.stages.merger import MergeParameters
from shared.stages.stage import Leave, Stage, StageError

CONFIGURATIONS = ("config.json", "generation_config.json")


def run(stage: Stage) -> None:
    """Write the merge and tensors.jsonl; results parameters, method, t, linear_fallback.

    The weights are read and written tensor by tensor, so memory does not grow with the model.
    """
    parameters = MergeParameters.model_validate(stage.parameters)
    if not 0 <= parameters.t <= 1:
        raise StageError(f"t is {parameters.t}: it must be between 0 and 1")
    set_threads()
    at_zero, at_one = stage.input("at_zero").path, stage.input("at_one").path
    expected = check_parents(at_zero, at_one)
    combine = partial(method_of(parameters), t=parameters.t)
    rows = merge(stage, (at_zero, at_one), expected, combine)
    (stage.output / "tensors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in CONFIGURATIONS:
        if (at_zero / name).exists():
            shutil.copyfile(at_zero / name, stage.output / name)
    copy_tokenizer(at_zero, stage.output)
    stage.results.update(
        parameters=sum(layout.values for layout in expected.values()),
        method=parameters.method,
        t=parameters.t,
        linear_fallback=[row["name"] for row in rows if row.get("linear")],
    )


def merge(
    stage: Stage, parents: Sequence[Path], expected: Mapping[str, Layout], combine: Combine
) -> list[dict[str, Any]]:
    """Write the merged weights; returns one row per tensor: name, shape, the method's notes."""
    rows = []
    with Writer(stage.output, expected) as writer:
        for done, (name, layout) in enumerate(expected.items(), 1):
            notes = combine([read(parent, name) for parent in parents], writer.put(name))
            if not all(math.isfinite(note) for note in notes.values() if isinstance(note, float)):
                raise StageError(
                    f"the models cannot be merged: {name} holds values that are not finite"
                )
            rows.append({"name": name, "shape": list(layout.shape), **notes})
            stage.progress(done, len(expected), "tensors")
            if stage.stopping:
                raise Leave
    return rows
