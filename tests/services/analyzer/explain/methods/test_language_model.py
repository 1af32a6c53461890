"""The stage `explain` by a language model, mostly with a stand-in of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.analyzer.explain import outcome, stage
from services.analyzer.explain.language_model import (
    Answers,
    Examples,
    FeatureAnswers,
    HeldOutWindows,
    Reason,
)
from services.analyzer.explain.methods import language_model
from shared.resolve.explainer import PROMPTS, endpoint_digest, explainer_settings
from shared.settings import Settings
from shared.stages.explain import LanguageModel
from shared.stages.stage import Stage, StageError
from tests.support.explanations.world import (
    COMMON,
    CONTEXT,
    EVEN_ONLY,
    NOISE,
    PARAMETERS,
    PERSIST,
    PLANTED,
    TOKENS,
    WIDTH,
    WORDS,
    dense_parent,
    explain_inputs,
    rows_of,
    tokens_of,
    world,
)
from tests.support.fake_services.language_model import KEY, language_model_server
from tests.support.fake_services.language_model import MODEL as NAME
from tests.support.planted import Artifact
from tests.support.stages import run_stage

MODEL = {"endpoint": "e" * 64, "label": "a model", "prompts": "p" * 64}
BY_MODEL = {
    **PARAMETERS,
    "method": "language_model",
    "language_model": {**MODEL, "requests": None, "tokens": None},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def explained(built: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run_stage(
        stage.run, PARAMETERS, explain_inputs(built), tmp_path_factory.mktemp("explain")
    )


NO_VERDICTS = {"detection": None, "fuzzing": None}
Asked = list[tuple[Examples, HeldOutWindows]]


def nothing(feature: int, reason: str) -> FeatureAnswers:
    return FeatureAnswers(feature, None, None, NO_VERDICTS, reason)


def right(examples: Examples, held: HeldOutWindows) -> FeatureAnswers:
    """The answer of a model that knows the planted tokens: level 9 on them, 0 elsewhere."""
    if examples.feature >= len(PLANTED):
        return nothing(examples.feature, Reason.REFUSED)
    known = [WORDS[token] for token in PLANTED[examples.feature]]
    level_WK = np.array([[9.0 * (text in known) for text in row] for row in held.texts_WK], "f4")
    return FeatureAnswers(
        feature=examples.feature,
        explanation=f"one of {known}",
        predicted_WK=level_WK,
        verdicts={
            "detection": np.asarray((level_WK > 0).any(axis=1)),
            "fuzzing": np.asarray(((level_WK > 0) == held.marks_WK).all(axis=1)),
        },
        failure=None,
    )


def stand_in(
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[Examples, HeldOutWindows], FeatureAnswers],
    covered: float = 1,
) -> Asked:
    """Let `answer` speak for the language model; returns what it is asked, as it is asked."""
    asked: Asked = []

    def ask(
        _: Stage, model: LanguageModel, features: Sequence[tuple[Examples, HeldOutWindows]]
    ) -> Answers:
        assert model.label == MODEL["label"]
        asked.extend(features)
        return Answers([answer(*one) for one in features], 7, 700, False, covered)

    monkeypatch.setattr(language_model, "ask", ask)
    return asked


def test_a_language_model_that_knows_scores_as_the_rules_do(
    built: dict[str, Artifact], explained: Artifact, monkeypatch: Any, tmp_path: Path
) -> None:
    stand_in(monkeypatch, right)
    artifact = run_stage(stage.run, BY_MODEL, explain_inputs(built), tmp_path)
    rows = rows_of(artifact, "explanations")
    for row, tokens in zip(rows, PLANTED, strict=False):
        assert row["explanation"] == f"one of {[WORDS[token] for token in tokens]}"
        assert row["score"] > (0.95 if len(tokens) == 1 else 0.85)
        assert row["fuzzing"] == 1
        assert row["detection"] == (None if tokens == COMMON else 1)
        assert row["rule"] is None
    results = artifact[1]
    assert (results["label"], results["requests"], results["tokens"]) == ("a model", 7, 700)
    # Windows are those of the rules, and predictions are in units of activation.
    for name in ("feature", "window", "start", "active", "activations"):
        one, other = (
            [row[name] for row in rows_of(which, "simulations")] for which in (artifact, explained)
        )
        assert one == other
    dense = dense_parent(tokens_of())
    even = np.arange(TOKENS) // CONTEXT % 2 == 0
    highest = max(max(row["predicted"]) for row in rows_of(artifact, "simulations")[:20])
    assert highest == pytest.approx(dense[even, 0].max())


def test_examples_come_from_even_contexts_and_show_the_maximum(
    built: dict[str, Artifact], monkeypatch: Any, tmp_path: Path
) -> None:
    asked = stand_in(monkeypatch, right)
    run_stage(stage.run, BY_MODEL, explain_inputs(built), tmp_path)
    assert [examples.feature for examples, _ in asked] == list(range(EVEN_ONLY))
    stream, dense = tokens_of().reshape(-1), dense_parent(tokens_of())
    even = (np.arange(TOKENS) // CONTEXT) % 2 == 0
    for examples, held in asked:
        levels = np.array(examples.levels_EK)
        assert levels.shape == (12, 16)
        assert (levels.min(), levels.max()) == (0, 9)
        assert (levels.max(axis=1) > 0).all()
        # The texts are those of windows of even contexts with just these levels.
        own = dense[:, examples.feature]
        expected = np.minimum(9, np.ceil(9 * own.astype(float) / own[even].max()))
        for texts, row in zip(examples.texts_EK, levels.tolist(), strict=True):
            ids = [WORDS.index(text) for text in texts]
            starts = [
                c * CONTEXT + k
                for c in range(0, TOKENS // CONTEXT, 2)
                for k in range(CONTEXT - 15)
                if stream[c * CONTEXT + k] == ids[0]
            ]
            assert any(
                stream[s : s + 16].tolist() == ids and expected[s : s + 16].tolist() == row
                for s in starts
            )
        assert np.array(held.marks_WK).shape == np.array(held.texts_WK).shape == (20, 16)


def test_broken_answers_are_counted_failures_and_never_scores(
    built: dict[str, Artifact], monkeypatch: Any, tmp_path: Path
) -> None:
    def broken(examples: Examples, held: HeldOutWindows) -> FeatureAnswers:
        whole = right(examples, held)
        return {
            0: nothing(0, Reason.EMPTY),
            1: replace(whole, predicted_WK=None, failure=Reason.UNREADABLE),
            2: replace(whole, verdicts=NO_VERDICTS, failure=Reason.UNREADABLE),
            3: nothing(3, Reason.BUDGET),
            4: replace(whole, predicted_WK=np.zeros((20, 16), np.float32)),
        }.get(examples.feature, whole)

    stand_in(monkeypatch, broken, covered=0.9)
    artifact = run_stage(stage.run, BY_MODEL, explain_inputs(built), tmp_path)
    rows = rows_of(artifact, "explanations")
    assert [rows[0][name] for name in ("explanation", "score", "detection", "fuzzing")] == [
        None
    ] * 4
    assert rows[0]["failure"] == Reason.EMPTY
    assert [rows[1][name] for name in ("score", "detection", "fuzzing")] == [None, 1, 1]
    assert [rows[2][name] for name in ("detection", "fuzzing")] == [None, None]
    assert rows[1]["failure"] == rows[2]["failure"] == Reason.UNREADABLE
    assert rows[3]["failure"] == Reason.BUDGET
    assert (rows[4]["score"], rows[4]["failure"]) == (None, outcome.SAME_PREDICTION)
    assert rows[5]["score"] > 0.85
    results = artifact[1]
    # Ten features were asked about, a tenth of them never tried; the other two needed no question.
    assert results["covered"] == pytest.approx((WIDTH - 1) / WIDTH)
    assert results["failures"] == {
        Reason.EMPTY: 1, Reason.UNREADABLE: 2, Reason.BUDGET: 1, Reason.REFUSED: NOISE,
        outcome.SAME_PREDICTION: 1,
        outcome.NO_EXAMPLES: 1, outcome.NO_WINDOWS: 1,
    }  # fmt: skip
    predicted = [row["predicted"] for row in rows_of(artifact, "simulations")]
    assert predicted[0] is None
    assert predicted[5 * 20] is not None


def test_the_method_language_model_needs_a_language_model(
    built: dict[str, Artifact], tmp_path: Path
) -> None:
    parameters = {**PARAMETERS, "method": "language_model"}
    with pytest.raises(StageError, match="language_model"):
        run_stage(stage.run, parameters, explain_inputs(built), tmp_path)


def test_a_server_on_loopback_is_asked_once_even_by_a_second_attempt(
    built: dict[str, Artifact], monkeypatch: Any, tmp_path: Path
) -> None:
    with language_model_server() as server:
        monkeypatch.setenv("LINEAMENT_EXPLAIN_URL", server.url)
        monkeypatch.setenv("LINEAMENT_EXPLAIN_MODEL", NAME)
        monkeypatch.setenv("LINEAMENT_EXPLAIN_KEY", KEY)
        asked = {"endpoint": endpoint_digest(Settings()), "label": "a model", "prompts": PROMPTS}
        limits = {"requests": None, "tokens": None}
        parameters = {**BY_MODEL, "features": 4, "language_model": asked | limits}
        explainer = explainer_settings(Settings())
        first = run_stage(
            stage.run, parameters, explain_inputs(built), tmp_path / "first", explainer=explainer
        )
        answers = server.answered.copy()
        checkpoints = tmp_path / "first" / "checkpoints"
        newest = max(checkpoints.iterdir(), key=lambda path: int(path.name))
        again = run_stage(
            stage.run,
            parameters,
            explain_inputs(built),
            tmp_path / "again",
            resume=newest,
            explainer=explainer,
        )
        assert server.answered == answers
    rows = rows_of(first, "explanations")
    for row in (rows[0], *rows[2:PERSIST]):
        assert row["score"] > 0.85, row
        assert row["failure"] is None
    # The server spells tokens out, and a line break is none any more in a sentence of one line.
    assert (rows[1]["score"], rows[1]["failure"]) == (None, outcome.SAME_PREDICTION)
    assert first[1]["requests"] == sum(answers.values())
    assert first[1]["tokens"] > 0
    assert again[1] == first[1]
    for name in ("explanations.parquet", "simulations.parquet"):
        assert (again[0] / name).read_bytes() == (first[0] / name).read_bytes()
        assert NAME.encode() not in (first[0] / name).read_bytes()
