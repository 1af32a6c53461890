"""The registry of merge methods, and what the stages promise to every method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.merger import merge
from services.merger.methods import COMBINE, check_settings
from services.merger.methods.base import Notes, Sink, in_memory
from shared.spec.registry import RegistryError
from shared.stages.stage import StageError
from tests.support.language_models import Artifact, model_artifact
from tests.support.stages import run_stage


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    directory = tmp_path_factory.mktemp("parents")
    return {
        "at_zero": model_artifact(directory / "zero", seed=1),
        "at_one": model_artifact(directory / "one", seed=2),
    }


def halves(parents: tuple[Tensor, Tensor], sink: Sink, *, t: float) -> Notes:
    """A line, in two pieces, the second one first."""
    zero, one = (parent.reshape(-1) for parent in parents)
    mixed = torch.lerp(zero, one, t)
    middle = len(mixed) // 2
    sink(middle, mixed[middle:])
    sink(0, mixed[:middle])
    return {"norm": float(mixed.norm())}


def test_pieces_come_in_any_order_and_make_the_whole() -> None:
    zero, one = torch.zeros(2, 3), torch.arange(6.0).view(2, 3)
    tensor, notes = in_memory(halves, (zero, one), t=0.5)
    assert torch.equal(tensor, one / 2)
    assert notes["norm"] == pytest.approx(float((one / 2).norm()))


def test_the_stage_runs_the_method_that_the_parameters_name(
    parents: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(parents: Any, sink: Sink, *, t: float) -> Notes:
        asked.append(t)
        return halves(parents, sink, t=t)

    monkeypatch.setitem(COMBINE, "slerp", counted)
    _, results = run_stage(merge.run, {"t": 0.25}, parents, tmp_path)
    assert set(asked) == {0.25}
    assert results["linear_fallback"] == []  # a method that says nothing of lines took none


def test_a_note_that_is_not_finite_refuses_the_merge(
    parents: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(parents: Any, sink: Sink, *, t: float) -> Notes:
        halves(parents, sink, t=t)
        return {"angle": float("nan")}

    monkeypatch.setitem(COMBINE, "slerp", broken)
    with pytest.raises(StageError, match="holds values that are not finite"):
        run_stage(merge.run, {"t": 0.25}, parents, tmp_path)


def test_a_method_whose_code_takes_other_settings_than_it_declares_is_refused() -> None:
    def other(parents: Any, sink: Sink, *, t: float, sharpness: float) -> Notes:
        raise AssertionError

    sentence = r"slerp declares the settings \['t'\], but its code takes \['sharpness', 't'\]"
    with pytest.raises(RegistryError, match=sentence):
        check_settings("slerp", other)
