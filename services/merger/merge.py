"""One model at t between two, written as a Hugging Face directory."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.merger.methods.slerp import coefficients, cosine, mix
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
    rows = merge(stage, at_zero, at_one, expected, parameters.t)
    (stage.output / "tensors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in CONFIGURATIONS:
        if (at_zero / name).exists():
            shutil.copyfile(at_zero / name, stage.output / name)
    copy_tokenizer(at_zero, stage.output)
    stage.results.update(
        parameters=sum(layout.values for layout in expected.values()),
        method=parameters.method,
        t=parameters.t,
        linear_fallback=[row["name"] for row in rows if row["linear"]],
    )


def merge(
    stage: Stage, at_zero: Path, at_one: Path, expected: Mapping[str, Layout], t: float
) -> list[dict[str, Any]]:
    """Write the merged weights; returns one row per tensor: name, shape, dot, angle, linear."""
    rows = []
    with Writer(stage.output, expected) as writer:
        for done, (name, layout) in enumerate(expected.items(), 1):
            dot, linear = _merge_tensor(writer, at_zero, at_one, name, t)
            angle = None if dot is None else math.degrees(math.acos(dot))
            row = {"name": name, "shape": list(layout.shape), "dot": dot}
            rows.append({**row, "angle_degrees": angle, "linear": linear})
            stage.progress(done, len(expected), "tensors")
            if stage.stopping:
                raise Leave
    return rows


def _merge_tensor(
    writer: Writer, at_zero: Path, at_one: Path, name: str, t: float
) -> tuple[float | None, bool]:
    """Write one merged tensor; the same arithmetic as `slerp`, without the result in memory."""
    zero, one = read(at_zero, name), read(at_one, name)
    dot = cosine(zero, one)
    if dot is not None and not math.isfinite(dot):
        raise StageError(f"the models cannot be merged: {name} holds values that are not finite")
    weight_zero, weight_one, linear = coefficients(dot, t)
    if t in (0, 1):
        writer.put(name)(0, one if t else zero)
    else:
        mix(zero, one, weight_zero, weight_one, writer.put(name))
    return dot, linear
