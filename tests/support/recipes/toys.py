"""Runs in a copy of the tree with the toys of tests/test_recipes.py; prints one JSON object.

    python -m tests.support.recipes.toys DIRECTORY

From a spec that names both toys to their artifacts, by the functions that a worker runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from services.merger import merge, sweep
from services.sae import dictionary
from shared.plan import make_plan
from shared.plan.graph import PlannedStage
from shared.spec import spec_schema
from tests.support.dictionaries import packed_tokens, tiny_model
from tests.support.language_models import model_artifact, read_jsonl, tokens_artifact
from tests.support.specs import resolved
from tests.support.stages import run_stage

SPEC = (
    ("dictionaries.mlp.variant", "toy"),
    ("dictionaries.mlp.strength", 2.0),
    ("models.merged.merge", {"method": "toy", "at_zero": "left", "at_one": "right", "t": 0.5}),
    ("models.merged.merge.share", 0.25),
    ("sweeps.between.method", "toy"),
)


def planned(*changes: tuple[str, Any]) -> dict[str, PlannedStage]:
    """The last stage of each kind in the plan of the small spec with these changes."""
    return {stage.kind: stage for stage in make_plan(resolved(*changes)).stages}


def trained(parameters: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The weights of a dictionary of a tiny model, as the stage writes them."""
    inputs = {
        "model": (tiny_model(directory / "model"), {}),
        "tokens/0": (packed_tokens(directory / "tokens"), {}),
    }
    output, _ = run_stage(dictionary.run, parameters, inputs, directory)
    return load_file(output / "sae_weights.safetensors")


def dictionaries(directory: Path) -> dict[str, Any]:
    """What the plan says of the toy and of relu, and whether they train as they should."""
    toy = planned(*SPEC)["dictionary"].parameters
    plain = planned()["dictionary"].parameters
    # The toy's strength of 2 is a penalty of twice the weight.
    twice = {**plain, "l1": 2 * plain["l1"], "seed": toy["seed"], "replicate": toy["replicate"]}
    found, expected = trained(toy, directory / "toy"), trained(twice, directory / "relu")
    return {
        "toy": toy,
        "plain": plain,
        "trains": all(found[name].equal(tensor) for name, tensor in expected.items()),
    }


def merges(directory: Path) -> dict[str, Any]:
    """What the plan says of the toy's merge and sweep, and what they make of two tiny models."""
    plan = planned(*SPEC)
    parents = {
        name: model_artifact(directory / name, seed=seed)
        for seed, name in enumerate(("at_zero", "at_one"))
    }
    output, results = run_stage(merge.run, plan["merge"].parameters, parents, directory / "merge")
    files = [path / "model.safetensors" for path in (*(p[0] for p in parents.values()), output)]
    zero, one, found = (load_file(file) for file in files)
    inputs = {**parents, "tokens/0": tokens_artifact(directory / "tokens")}
    _, swept = run_stage(sweep.run, plan["sweep"].parameters, inputs, directory / "sweep")
    return {
        "merge": plan["merge"].parameters,
        "sweep": plan["sweep"].parameters,
        "results": results,
        "row": read_jsonl(output / "tensors.jsonl")[0],
        "merges": all(
            tensor.allclose(zero[name] + 0.125 * (one[name] - zero[name]))
            for name, tensor in found.items()
        ),
        "points": [point["t"] for point in swept["points"]],
    }


def main() -> None:
    """Print what the test looks at."""
    directory, parts = Path(sys.argv[1]), spec_schema()["$defs"]
    enums = {
        "variant": parts["Dictionaries"]["properties"]["variant"]["enum"],
        "method": parts["Merge"]["properties"]["method"]["enum"],
    }
    found = {"schema": enums, **dictionaries(directory / "sae"), **merges(directory / "merger")}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
