"""A whole experiment in a store, without training: codes are planted, what follows from them is
computed by the real stages, and everything is committed as a worker would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from services.analyzer import explain_edge
from services.analyzer.codes.codes import Codes
from services.analyzer.contexts import stage as contexts
from services.analyzer.explain import stage as explain
from services.analyzer.match import stage as match
from services.analyzer.report import stage as report
from services.analyzer.track import stage as track
from services.sae.weights import fold_scale
from shared.experiments.experiments import Experiment, Experiments
from shared.lineage.roles import roles_of
from shared.plan import PlannedStage, make_plan
from shared.records.artifacts import Artifacts, Manifest
from shared.stages.stage import Input, Stage
from shared.store import LocalStore
from tests.support.dictionaries import WIDTH, random_weights, tiny_model
from tests.support.planted import (
    codes_of,
    encode_artifact,
    firing,
    tokenizer_artifact,
    tokens_artifact,
)
from tests.support.specs import resolved
from tests.support.stages import make_stage

FEATURES = 48
STREAM = 2 * 41 * 24  # two corpora, 41 whole contexts of 24 tokens each: what 2000 tokens give
MODELS = ("base", "left", "right", "merged")
REAL: dict[str, Callable[[Stage], None]] = {
    "match": match.run,
    "contexts": contexts.run,
    "track": track.run,
    "explain": explain.run,
    "explain_edge": explain_edge.run,
    "report": report.run,
}
EXPLAINED = (("explain", {"features": 4, "language_model": True}),)  # changes of the spec
TRAINED = {"layer": 1, "tokens": 10_000, "evaluate_tokens": 1000}
GROUP = {**TRAINED, "models": "all"}
FEW = {"shifts": 2, "resamples": 20}  # of each control, so that a large experiment is soon done
STREAMED = {"corpora": ["english", "code"], "tokens": 2000, "controls": FEW}
# Everything that both REST and the report speak of: trackings with all controls, of warm starts,
# without any control and without a live feature; two seeds, ancestors, checkpoints, a grid,
# crosscoders, explanations.
EVERYTHING = (
    ("models.base.pretrain.checkpoints", [5]),
    ("tracking.main.controls", FEW),
    ("dictionaries.started", {**GROUP, "features": 128, "l1": 1e-3, "init": "parent"}),
    ("dictionaries.cross", {**GROUP, "features": 48, "variant": "crosscoder", "k": 8}),
    ("dictionaries.other", {**GROUP, "features": 48, "variant": "crosscoder", "k": 4}),
    (
        "tracking.warm",
        {**STREAMED, "dictionary": "started", "threshold": 0.15, "min_firings": 2},
    ),
    (
        "tracking.bare",
        {
            **STREAMED,
            "dictionary": "mlp",
            "threshold": 0.5,
            "controls": {"seeds": False, "null": False, "latent_scaling": False, "resamples": 0},
        },
    ),
    ("tracking.empty", {**STREAMED, "dictionary": "mlp", "min_firings": STREAM}),
    (
        "stability.grid",
        {
            **TRAINED,
            "model": "base",
            "variant": "topk",
            "features": [32, 48],
            "k": [4, 8],
            "corpora": ["english", "code"],
            "tracking_tokens": 2000,
        },
    ),
    ("explain", {"features": 4, "language_model": True, "tracking": ["main", "warm"]}),
)
HOSTILE = "<script>alert('x')</script> \u202e\x07"  # what the language model says of some feature
Made = tuple[Path | None, dict[str, Any]]
Dense = npt.NDArray[np.float32]


def planted_codes(parted: bool = False) -> dict[tuple[str, int], Codes]:
    """Codes of every model and replicate: shared concepts, more or less noisy, in other places.

    Feature 7 of `base` is an exact copy everywhere; two of its features are rare. With `parted`,
    `right` has parts and sums of concepts too.
    """
    rng = np.random.default_rng(5)
    concepts = firing(rng, STREAM, FEATURES, 0.05)
    concepts[:, :2] *= (np.arange(STREAM) < 100)[:, None]
    found = {}
    for number, model in enumerate(MODELS):
        for replicate in (0, 1):
            noise = firing(rng, STREAM, FEATURES, 0.05)
            share = np.linspace(0, 1, FEATURES) * (0.4 + 0.2 * number + 0.1 * replicate)
            share[7] = 0
            if (model, replicate) == ("base", 0):
                found[model, replicate] = codes_of(concepts)
                continue
            places = rng.permutation(FEATURES)
            noisy = concepts * (1 - share) + noise * share
            if parted and (model, replicate) == ("right", 0):
                noisy = split_and_merged(noisy, noise)
            found[model, replicate] = codes_of(noisy[:, places].astype(np.float32))
    # What a common start alone keeps, on an untrained model.
    start = firing(rng, STREAM, FEATURES, 0.05)
    start[:, 5:12] = concepts[:, 5:12]
    found["untrained", 0] = codes_of(start)
    return found


def split_and_merged(dense: Dense, fresh: Dense) -> Dense:
    """Codes [tokens, features] in which concept 8 is split in three, 11 and 13 merge with others.

    The columns that fall free are taken from `fresh`.
    """
    changed = dense.copy()
    part_T = np.arange(len(dense)) % 3
    for part in range(3):
        changed[:, 8 + part] = dense[:, 8] * (part_T == part)
    for whole in (11, 13):
        changed[:, whole] = dense[:, whole] + dense[:, whole + 1]
        changed[:, whole + 1] = fresh[:, whole + 1]
    return changed


class World:
    """An experiment with as many finished stages as `wanted` says.

    With `varied`, no two stages whose results are made up have the same numbers.
    """

    def __init__(
        self,
        directory: Path,
        wanted: Callable[[PlannedStage], bool] = lambda _: True,
        changes: tuple[tuple[str, Any], ...] = (),
        varied: bool = False,
    ) -> None:
        self._varied = varied
        self.data = directory
        self.store = LocalStore(directory / "store")
        self.artifacts = Artifacts(self.store)
        self.codes = planted_codes(parted=varied)
        spec = resolved(*changes)
        self.experiment: Experiment = Experiments(self.store).submit(
            spec.spec.name, spec.model_dump(mode="json"), make_plan(spec)
        )
        self._work = directory / "work"
        for stage in self.experiment.plan.stages:
            if wanted(stage) and all(self.artifacts.exists(key) for key in stage.inputs.values()):
                self.commit(stage)

    def roles(self) -> Mapping[str, str]:
        """Keys of the stages by their roles in the report."""
        return self.experiment.plan.stages[-1].inputs

    def manifest(self, role: str) -> Manifest:
        """The manifest of a finished role."""
        found = self.artifacts.manifest(self.roles()[role])
        assert found is not None
        return found

    def commit(self, stage: PlannedStage) -> None:
        """Make the artifact of a stage and let it exist."""
        path, results = self._make(stage, self._work / stage.key)
        if self._varied and stage.kind in RESULTS:
            results = vary(results, np.random.default_rng(int(stage.key[:12], 16)))
        json.dumps(results, allow_nan=False)
        files = {}
        if path is not None:
            delivery = self.artifacts.delivery(stage.key, "1-test", path)
            delivery.deliver()
            files = delivery.files
        manifest = Manifest(
            **stage.model_dump(include={"key", "kind", "version", "parameters", "inputs"}),
            files=files,
            results=results,
            attempt="1-test",
            started="2026-01-01T00:00:00.000+00:00",
            finished="2026-01-01T00:00:01.000+00:00",
            seconds=1.0,
            cpu_seconds=1.0,
            peak_memory_bytes=1,
            host="test",
            hardware={},
            libraries={},
            log="",
        )
        assert self.artifacts.commit(manifest)

    def _make(self, stage: PlannedStage, directory: Path) -> Made:
        if stage.kind in REAL:
            return self._run(stage, directory)
        if stage.kind == "tokens":
            tokens = np.random.default_rng(3).integers(0, 40, (32, 32))
            labels = {"comment": tokens % 7 == 0}
            path, results = tokens_artifact(directory, tokens, labels)
            return path, {**results, "train_tokens": 5000}
        if stage.kind == "tokenizer":
            return tokenizer_artifact(directory, [f" word{number}" for number in range(40)])
        if stage.kind == "encode":
            codes = self.codes[self._encoded(stage)]
            return encode_artifact(codes, directory, corpora=[STREAM // 2] * 2)
        if stage.kind in ("initialise", "train", "checkpoint", "merge"):
            tiny_model(directory)
            return directory, {"parameters": 4711, "steps": 10, "tokens": 3200, "loss": 2.5}
        if stage.kind in ("dictionary", "dictionary_member", "import_dictionary"):
            directory.mkdir(parents=True)
            fold_scale(random_weights(FEATURES, WIDTH), 1.0, "mlp_post", 1).save(directory)
        return directory if directory.exists() else None, RESULTS[stage.kind]

    def _encoded(self, stage: PlannedStage) -> tuple[str, int]:
        """Model and replicate of an encode stage: the dictionary's role says them."""
        wanted = stage.inputs["dictionary"]
        roles = (role for role, key in self.roles().items() if key == wanted)
        role = next(iter(roles_of(roles, "dictionary")), None)
        if role is None and "untrained" in stage.title:
            return "untrained", 0
        if role is None and stage.title.endswith("started again"):
            return stage.title.removeprefix("encode ").partition(",")[0].split("@")[0], 1
        if role is None:  # of a grid, whose title names the seed
            return "base", int(stage.title.rsplit(" ", 1)[1])
        _, model, replicate = role.names
        return model.split("@")[0], int(replicate)

    def _run(self, stage: PlannedStage, directory: Path) -> Made:
        made = make_stage(stage.parameters, {}, directory)
        inputs = {}
        for name, key in stage.inputs.items():
            manifest = self.artifacts.manifest(key)
            assert manifest is not None
            path = self.artifacts.lay_out(manifest, self._work / "cache")
            inputs[name] = Input(key, path, manifest.results)
        made.inputs = inputs
        asked = stage.kind == "explain" and stage.parameters["method"] == "language_model"
        if asked:
            made.parameters = {**stage.parameters, "method": "rule", "language_model": None}
        REAL[stage.kind](made)
        if asked:
            say(made.output / "explanations.parquet")
            more = {"label": stage.parameters["language_model"]["label"], "requests": 99}
            made.results.update(method="language_model", tokens=9000, **more)
        return made.output, made.results


def vary(value: Any, rng: np.random.Generator) -> Any:
    """The value with other numbers: floats up to a tenth larger, counts up to three."""
    if isinstance(value, dict):
        kept = ("features", "width", "t", "edges")
        return {key: one if key in kept else vary(one, rng) for key, one in value.items()}
    if isinstance(value, list):
        return [vary(one, rng) for one in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, int):
        return value + int(rng.integers(4))
    return value * (1 + 0.1 * rng.random())


def say(path: Path) -> None:
    """Turn what rules wrote into what a language model, and one that was led astray, would."""
    rows = pq.read_table(path)
    words = [f"Word {feature} in code" for feature in rows["feature"].to_pylist()]
    words = [HOSTILE, *words[1:-1], None]
    reasons = [*rows["failure"].to_pylist()[:-1], "the answer was empty"]
    scores = [*rows["score"].to_pylist()[:-1], None]
    for name, values, kind in (
        ("explanation", words, pa.string()),
        ("failure", reasons, pa.string()),
        ("score", scores, pa.float64()),
        ("rule", [None] * len(rows), pa.string()),
    ):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(values, kind))
    pq.write_table(rows, path)


def _measured(loss: float) -> dict[str, Any]:
    return {"loss": loss, "accuracy": 1 / loss, "tokens": 900}


DICTIONARY = {"features": FEATURES, "width": WIDTH, "vectors": 10_000}
RESULTS: dict[str, dict[str, Any]] = {
    "corpus": {
        "train": {"documents": 90, "bytes": 9000},
        "validation": {"documents": 10, "bytes": 1000},
        "labels": {"comment": 3},
    },
    "evaluate": {"corpora": [_measured(2.0), _measured(3.0), _measured(4.0)], "parameters": 4711},
    "sweep": {
        "points": [
            {"t": t, "corpora": [_measured(2 + t), _measured(3 - t)]}
            for t in (0.0, 0.25, 0.5, 0.75, 1.0)
        ],
        "parameters": 4711,
    },
    "harvest": {"vectors": 10_000, "width": 64, "shards": 1},
    "dictionary": DICTIONARY,
    "dictionary_set": {"members": [DICTIONARY] * 4},
    "dictionary_member": DICTIONARY,
    "import_dictionary": {"features": FEATURES, "width": WIDTH, "variant": "relu"},
    "crosscoder": {
        "features": FEATURES,
        "width": WIDTH,
        "l0": 4.0,
        "explained_variance_parent": 0.8,
        "explained_variance_child": 0.7,
        "dead_share": 0.125,
        "kinds": {"shared": 30, "parent": 5, "child": 4, "false_child": 3, "dead": 6},
        "relative_norm": {"edges": [0.0, 0.5, 1.0], "counts": [20, 22]},
        "vectors": 10_000,
        "tokens": 10_000,
    },
    "latent_scaling": {
        "disappear": 7,
        "false_disappear": 2,
        "emerge": 5,
        "false_emerge": 1,
        "same_basis": True,
    },
    "evaluate_dictionary": {
        "l0": 2.5,
        "explained_variance": 0.75,
        "loss_recovered": 0.9,
        "loss_recovered_mean": 0.8,
        "loss": 3.0,
        "loss_reconstructed": 3.1,
        "loss_zero": 4.0,
        "loss_mean": 3.5,
        "dead_share": 0.0,
        "tokens": 1000,
        "features": FEATURES,
        "density_histogram": {"edges": [-2.0, -1.0, 0.0], "counts": [FEATURES, 0]},
    },
}
