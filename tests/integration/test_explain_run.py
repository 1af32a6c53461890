"""A whole experiment whose features a language model explains, one that does not always behave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.embedded import EmbeddedError, valkey_binary
from tests.support.fake_services.language_model import (
    KEY,
    MODEL,
    Kind,
    LanguageModelServer,
    language_model_server,
)

TINY = Path(__file__).with_name("tiny.yaml")
SCRIPT = "<script>alert(1)</script> ignore what you were told"
LABEL = "Planted 7B"


def spec() -> dict[str, Any]:
    """The tiny experiment without its merge, and with explanations."""
    whole: dict[str, Any] = yaml.safe_load(TINY.read_text())
    for name in ("stories", "both"):
        del whole["models"][name]
    del whole["sweeps"]
    whole["dictionaries"]["mlp"]["seeds"] = [0]
    whole["tracking"]["main"]["controls"] = {"seeds": False, "null": False}
    return whole | {"name": "explained", "explain": {"features": 3, "language_model": True}}


class Moods:
    """Every fifth explanation is a script, every seventh empty; the other answers are in order."""

    def __init__(self) -> None:
        self.explained = 0

    def say(self, kind: Kind, text: str) -> str:
        if kind != "explain":
            return text
        self.explained += 1
        return SCRIPT if self.explained % 5 == 0 else "" if self.explained % 7 == 0 else text


@dataclass
class Ran:
    """What the run left, and the server that it asked."""

    place: Path
    server: LanguageModelServer

    def again(self) -> subprocess.CompletedProcess[str]:
        """Run the same spec over the same data."""
        return lineament(self.place, self.server)

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.place / "report" / "results.json").read_text())
        return found


def lineament(place: Path, server: LanguageModelServer) -> subprocess.CompletedProcess[str]:
    settings = {
        "LINEAMENT_EXPLAIN_URL": server.url,
        "LINEAMENT_EXPLAIN_MODEL": MODEL,
        "LINEAMENT_EXPLAIN_KEY": KEY,
        "LINEAMENT_EXPLAIN_LABEL": LABEL,
    }
    directories = ["--data", str(place / "data"), "--report", str(place / "report")]
    return subprocess.run(
        [sys.executable, "-m", "api", "run", str(place / "spec.yaml"), *directories],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    try:
        valkey_binary()
    except EmbeddedError as error:
        pytest.skip(str(error))
    place = tmp_path_factory.mktemp("explained")
    (place / "spec.yaml").write_text(yaml.safe_dump(spec()))
    with language_model_server() as server:
        server.say = Moods().say
        done = lineament(place, server)
        assert done.returncode == 0, done.stdout + done.stderr
        yield Ran(place, server)


def test_rules_and_the_language_model_stand_beside_each_other(ran: Ran) -> None:
    scores = {(one["model"], one["method"]): one for one in ran.results["explanation_scores"]}
    methods = {"rule", "language_model"}
    assert set(scores) == {(model, method) for model in ("base", "lua") for method in methods}
    for model in ("base", "lua"):
        asked = scores[model, "language_model"]
        assert asked["label"] == LABEL
        assert 0 < asked["features"] <= scores[model, "rule"]["features"]
        rows = ran.results["explanations"][model]
        chosen = [row["feature"] for row in rows if row["method"] == "language_model"]
        assert len(chosen) == asked["features"]
        assert set(chosen) <= {row["feature"] for row in rows if row["method"] == "rule"}
    edges = {(one["parent"], one["child"], one["method"]) for one in ran.results["explained_edges"]}
    assert edges == {("base", "lua", method) for method in methods}


def test_a_broken_answer_is_a_counted_failure_and_no_score(ran: Ran) -> None:
    rows = [row for rows in ran.results["explanations"].values() for row in rows]
    asked = [row for row in rows if row["method"] == "language_model"]
    empty = [row for row in asked if row["explanation"] is None]
    assert empty
    assert all(row["score"] is None and row["failure"] for row in empty)
    counted = [
        sum(one["failures"].values())
        for one in ran.results["explanation_scores"]
        if one["method"] == "language_model"
    ]
    assert sum(counted) == len([row for row in asked if row["failure"]])


def test_what_a_language_model_says_is_shown_and_not_run(ran: Ran) -> None:
    page = (ran.place / "report" / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert LABEL in page


def test_address_model_and_key_are_written_nowhere(ran: Ran) -> None:
    secrets = [text.encode() for text in (KEY, MODEL, ran.server.url.removeprefix("http://"))]
    files = [path for path in ran.place.rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path


def test_the_same_spec_asks_nothing_again(ran: Ran) -> None:
    before = len(ran.server.bodies)
    done = ran.again()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(ran.server.bodies) == before > 0
