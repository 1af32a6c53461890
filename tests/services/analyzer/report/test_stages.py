"""The report over what match, contexts and track really write."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from services.analyzer.contexts import stage as contexts
from services.analyzer.report import stage as report
from services.analyzer.track import stage as track
from shared.lm.dictionary import Dictionary
from tests.support.planted import (
    Artifact,
    codes_of,
    encode_artifact,
    firing,
    match_artifact,
    tokenizer_artifact,
    tokens_artifact,
)
from tests.support.report.inputs import PAPER, Family, build
from tests.support.report.output import words_on
from tests.support.stages import run_stage

CONTEXT, BLOCKS, EQUALS, TRY = 16, 120, 3, 2
RESAMPLES = 40
STREAM = {"tokens": 10**6, "context": CONTEXT}
HOOK = {"hook": "mlp_post", "layer": 0}
WIDTH = 24  # of the tiny model's MLP
MODELS = list(PAPER)


def planted(stream_T: Any) -> list[Any]:
    """Activations of four models: `=` in all of them, `try` in the base alone, others shared."""
    rng = np.random.default_rng(4)
    tokens = len(stream_T)
    common = firing(rng, tokens, 6, 0.03)
    strength = 1 + rng.random((tokens, 2))
    equals, attempt = (strength * (stream_T[:, None] == [EQUALS, TRY])).T
    own = [firing(rng, tokens, 3, 0.03) for _ in MODELS]
    dense = [np.column_stack([common, equals, part]) for part in own]
    dense[0] = np.column_stack([dense[0], attempt])
    dense[1] = np.column_stack([dense[1], attempt * (rng.random(tokens) < 0.3)])
    return dense


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stages")
    tokens_BT = np.random.default_rng(3).integers(0, 30, (BLOCKS, CONTEXT))
    words = ["<end>", " the", " try", " =", *[f" w{number}" for number in range(26)]]
    labels = {"exception": tokens_BT == TRY, "assignment": tokens_BT == EQUALS}
    shared = {
        "tokens/0": tokens_artifact(root / "tokens", tokens_BT, labels),
        "tokenizer": tokenizer_artifact(root / "tokenizer", words),
    }
    family = Family()
    (root / "inputs").mkdir()
    parameters, inputs = build(root / "inputs", family)
    inputs |= _analysed(root, shared, planted(tokens_BT.reshape(-1)), family)
    return run_stage(report.run, parameters, inputs, root / "report")[0]


def tiny_model(directory: Path) -> Artifact:
    """A random model of one layer over the 30 tokens."""
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
    )
    MistralForCausalLM(config).save_pretrained(directory)
    return directory, {"parameters": 0}


def random_dictionary(directory: Path, features: int, seed: int) -> Artifact:
    """Directions of which the contexts stage tells what they do to the logits."""
    directory.mkdir(parents=True)
    torch.manual_seed(seed)
    weights = torch.randn(WIDTH, features), torch.zeros(features), torch.randn(features, WIDTH)
    Dictionary(*weights, torch.zeros(WIDTH), hook="mlp_post", layer=0).save(directory)
    return directory, {"features": features, "width": WIDTH}


def _analysed(
    root: Path, shared: dict[str, Artifact], dense: list[Any], family: Family
) -> dict[str, Artifact]:
    """Roles of a report, made by the stages themselves."""
    made: dict[str, Artifact] = {}
    track_inputs = dict(shared)
    network = tiny_model(root / "network")
    for number, (name, model) in enumerate(zip(MODELS, dense, strict=True)):
        codes = encode_artifact(codes_of(model.astype(np.float32)), root / f"codes-{name}")
        role = f"contexts/main/{name}"
        place = root / f"dictionary-{name}"
        dictionary = random_dictionary(place, model.shape[1], number)
        inputs = {**shared, "codes": codes, "model": network, "dictionary": dictionary}
        made[role] = run_stage(contexts.run, STREAM | HOOK, inputs, root / f"contexts-{name}")
        track_inputs[f"codes/{number}"] = codes
        track_inputs[f"contexts/{number}"] = made[role]
        place = root / f"ceiling-{name}"
        made[f"ceiling/main/{name}"] = match_artifact(codes, codes, place, resamples=RESAMPLES)
    for number, (parent, child) in enumerate(family.edges()):
        one, other = (track_inputs[f"codes/{MODELS.index(name)}"] for name in (parent, child))
        place = root / f"match-{parent}-{child}"
        found = match_artifact(one, other, place, shifts=2, resamples=RESAMPLES)
        made[f"match/main/{parent}/{child}"] = found
        track_inputs[f"match/{number}"] = made[f"match/main/{parent}/{child}"]
    edges = [
        {"parent": MODELS.index(parent), "child": MODELS.index(child)}
        for parent, child in family.edges()
    ]
    first, last = track_inputs["codes/0"], track_inputs["codes/3"]
    track_inputs["ancestor/0"] = match_artifact(first, last, root / "ancestor")
    made["ancestor/main/base/luastories"] = track_inputs["ancestor/0"]
    ancestors = [{"parent": 0, "child": 3}]
    settings = {
        "edges": edges,
        "ancestors": ancestors,
        "threshold": 0.8,
        "min_firings": 10,
        **STREAM,
    }
    made["track/main"] = run_stage(track.run, settings | STREAM, track_inputs, root / "track")
    return made


def test_what_was_planted_is_reported(output: Path) -> None:
    results = json.loads((output / "results.json").read_text("utf-8"))
    for edge in results["edges"]:
        assert edge["persist"] == 7
        assert edge["ceiling"] == 1.0
        assert edge["null"] == 0.0
        assert edge["adjusted"] == edge["share"] == edge["persist"] / edge["alive_parent"]
        low, high = edge["interval"]
        assert low <= edge["share"] <= high
        assert edge["adjusted_interval"] is not None
        assert [point["ceiling"] for point in edge["curve"]] == [1.0] * 10
    assert len(results["universal"]) == 7
    best = {(row["label"], row["model"]): row for row in results["labels"]}
    assert best["assignment", "base"]["f1"] > 0.95
    assert best["assignment", "base"]["persists_in"] == ["lua", "stories", "luastories"]
    assert best["exception", "base"]["persists_in"] == []
    examples = results["examples"]["main"]
    assert examples["universal"]["label"] == "assignment"
    assert examples["failing"]["label"] == "exception"
    about = examples["universal"]["about"]
    assert [len(one["raised"]) for one in about] == [5] * len(MODELS)
    assert sum(about[0]["positions"]) == pytest.approx(1.0)
    context = examples["universal"]["contexts"][0]
    assert len(context["activations"]) == len(MODELS)
    assert all(len(values) == len(context["tokens"]) for values in context["activations"])


def test_what_track_says_of_merges_and_ancestors_is_reported_by_name(output: Path) -> None:
    results = json.loads((output / "results.json").read_text("utf-8"))
    (merge,) = results["merges"]
    parts = {parent["model"]: parent["only"] for parent in merge["parents"]}
    assert (merge["child"], merge["both"], merge["new"]) == ("luastories", 7, 3)
    assert parts == {"lua": 0, "stories": 0}
    (ancestor,) = results["ancestors"]
    assert (ancestor["parent"], ancestor["child"]) == ("base", "luastories")
    assert results["regained"][0]["persist_path"] == results["regained"][0]["persist_direct"] == 7
    with (output / "csv" / "features_base.csv").open(encoding="utf-8") as file:
        fates = {row["feature"]: row["fate"] for row in csv.DictReader(file)}
    assert sum("universal" in fate for fate in fates.values()) == 7


def test_the_curves_of_best_r_meet_the_any_match_share_at_the_threshold(output: Path) -> None:
    results = json.loads((output / "results.json").read_text("utf-8"))
    for edge in results["edges"]:
        histogram = edge["best_r"]["edge"]
        at = histogram["edges"].index(edge["threshold"])
        assert sum(histogram["counts"]) == edge["alive_parent"]
        assert sum(histogram["counts"][at:]) == edge["persist_any"]


def test_the_page_shows_the_planted_features(output: Path) -> None:
    words = words_on(output)
    assert "follows the construct assignment with" in words
    assert "and persists in none of its descendants" in words
    assert (output / "png" / "figure4_disappears.png").exists()
