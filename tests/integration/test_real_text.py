"""The whole experiment on real text: public-domain English and stories, the interpreter's source.

Corpora arrive by REST, as a user's would. The test checks shape, not luck.
"""

from __future__ import annotations

import itertools
import json
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from rich.console import Console

from api.cli.client import Client
from api.cli.follow import Watch
from api.embedded import EmbeddedError, installation, valkey_binary
from shared.settings import Settings

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
SPEC: dict[str, Any] = {
    "version": 1,
    "name": "real-text",
    "seed": 11,
    "block": 128,
    "evaluate_tokens": 20_000,
    "tokenizer": {
        "train": {"vocab_size": 2048, "corpora": ["english", "python", "stories", "lua"]}
    },
    "corpora": {
        "english": {"upload": "english", "max_tokens": 300_000},
        "python": {"upload": "python", "max_tokens": 300_000},
        "stories": {"upload": "stories", "max_tokens": 300_000},
        "lua": {"builtin": "lua", "max_tokens": 300_000},
    },
    "models": {
        "base": {
            "pretrain": {
                "corpora": ["english", "python"],
                "architecture": {
                    "hidden": 96, "mlp": 256, "heads": 4, "kv_heads": 2, "layers": 1, "context": 128
                },
                "epochs": 1,
                "batch": 32,
                "learning_rate": 3e-3,
                "warmup_steps": 10,
            }
        },
        "lua": {"finetune": {"parent": "base", "corpora": ["lua"], "batch": 32,
                             "learning_rate": 1e-3, "warmup_steps": 5}},
        "stories": {"finetune": {"parent": "base", "corpora": ["stories"], "batch": 32,
                                 "learning_rate": 1e-3, "warmup_steps": 5}},
        "same": {"merge": {"method": "slerp", "at_zero": "base", "at_one": "lua", "t": 0.0}},
        "merged": {"merge": {"method": "slerp", "at_zero": "stories", "at_one": "lua", "t": 0.5}},
    },
    "sweeps": {
        "line": {"method": "slerp", "at_zero": "stories", "at_one": "lua", "steps": 7,
                 "evaluate_on": ["stories", "lua"], "reference": "base"}
    },
    "dictionaries": {
        "mlp": {"models": ["base", "lua", "stories", "merged"], "hook": "mlp_post", "layer": 0,
                "features": 512, "l1": 1e-3, "learning_rate": 1e-3, "tokens": 200_000,
                "context": 32, "batch": 32, "dead_after_steps": 100, "seeds": [0, 1]}
    },
    "tracking": {
        "main": {"dictionary": "mlp", "corpora": ["english", "python"], "tokens": 20_000,
                 "threshold": 0.8, "min_firings": 10, "controls": {"seeds": True, "null": True}}
    },
}  # fmt: skip


def _zip_of_sources(path: Path) -> None:
    """Some of the interpreter's own source files, as a user would zip a repository."""
    root = Path(sysconfig.get_paths()["stdlib"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(root.glob("*.py")) + sorted(root.glob("[ace]*/*.py")):
            archive.write(source, source.relative_to(root))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not (CORPORA / "english.jsonl").exists():
        pytest.skip("real text is not there: shared/corpora lies beside the project, not in it")
    try:
        valkey_binary()
    except EmbeddedError as error:
        pytest.skip(str(error))
    place = tmp_path_factory.mktemp("real")
    _zip_of_sources(place / "python.zip")
    with installation(Settings(data=place / "data")) as (url, _):
        client = Client(url)
        client.upload("english", CORPORA / "english.jsonl", "text")
        client.upload("stories", CORPORA / "stories.jsonl", "text")
        client.upload("python", place / "python.zip", "text")
        number = client.submit(yaml.safe_dump(SPEC).encode())["id"]
        state = Watch(client, Console(file=(place / "out").open("w"))).follow(number)
        assert state == "complete", (place / "out").read_text()
        answer = httpx.get(f"{url}/v1/experiments/{number}/results", timeout=30)
    loaded: dict[str, Any] = json.loads(answer.content)
    return loaded


def loss(results: dict[str, Any], model: str, corpus: str) -> float:
    value: float = results["models"][model]["corpora"][corpus]["loss"]
    return value


def test_fine_tunes_beat_the_base_on_their_own_domain(results: dict[str, Any]) -> None:
    for model in ("lua", "stories"):
        assert loss(results, model, model) < loss(results, "base", model)


def test_training_beats_the_untrained_model_everywhere(results: dict[str, Any]) -> None:
    for corpus, before in results["untrained"]["base"]["corpora"].items():
        assert loss(results, "base", corpus) < before["loss"]


def test_a_merge_at_zero_is_its_parent(results: dict[str, Any]) -> None:
    assert results["models"]["same"]["corpora"] == results["models"]["base"]["corpora"]


def test_the_ends_of_the_sweep_equal_the_parents_exactly(results: dict[str, Any]) -> None:
    points = results["sweeps"]["line"]["points"]
    for corpus in ("stories", "lua"):
        first, last = points[0]["corpora"][corpus], points[-1]["corpora"][corpus]
        assert first["loss"] == loss(results, "stories", corpus)
        assert last["loss"] == loss(results, "lua", corpus)


def test_the_two_curves_of_the_sweep_cross_once(results: dict[str, Any]) -> None:
    points = results["sweeps"]["line"]["points"]
    for figure in ("loss", "accuracy"):
        gaps = [p["corpora"]["stories"][figure] - p["corpora"]["lua"][figure] for p in points]
        signs = [gap > 0 for gap in gaps]
        assert sum(a != b for a, b in itertools.pairwise(signs)) == 1, gaps


def test_counts_add_up_and_no_share_beats_chance_by_nothing(results: dict[str, Any]) -> None:
    assert len(results["edges"]) == 4
    for edge in results["edges"]:
        parent = ("persist", "split", "merge", "disappear")
        assert sum(edge[status] for status in parent) == edge["alive_parent"]
        child = ("persist", "split_child", "merge_child", "emerge")
        assert sum(edge[status] for status in child) == edge["alive_child"]
        assert edge["alive_parent"] > 50
        assert edge["share"] > edge["null"]
