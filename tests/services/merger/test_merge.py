"""SLERP against its formula and a float64 reference; the merge stage on real files."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from services.merger import merge
from services.merger.methods import slerp
from services.merger.methods.base import in_memory
from services.merger.methods.slerp import NEARLY_PARALLEL, coefficients
from services.merger.parents import check_parents
from services.merger.tensors import Writer, layouts, read
from shared.stages.stage import Leave, StageError
from tests.support.language_models import Artifact, model_artifact, read_jsonl, tokenizer_artifact
from tests.support.stages import make_stage, run_stage


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(zero: Tensor, one: Tensor, t: float) -> np.ndarray[Any, Any]:
    """The textbook formula, whole vectors, numpy float64."""
    a, b = (tensor.double().numpy().ravel() for tensor in (zero, one))
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    mixed = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    return mixed.reshape(tuple(zero.shape))


# ------------------------------------------------------------------------------- slerp


@dataclass(frozen=True)
class Merged:
    """One merged tensor, with what the method notes."""

    tensor: Tensor
    dot: float | None
    linear: bool


def at(zero: Tensor, one: Tensor, t: float) -> Merged:
    tensor, notes = in_memory(slerp.combine, (zero, one), t=t)
    return Merged(tensor, notes["dot"], notes["linear"])


@pytest.mark.parametrize(("degrees", "expected"), [(90, (0.6129, 0.7902)), (60, (0.4916, 0.6590))])
def test_the_known_coefficients_at_t_58(degrees: int, expected: tuple[float, float]) -> None:
    at_zero, at_one, linear = coefficients(math.cos(math.radians(degrees)), 0.58)
    assert (round(at_zero, 4), round(at_one, 4)) == expected
    assert not linear


def test_unit_vectors_stay_on_the_unit_circle_at_the_right_angle() -> None:
    zero, one = torch.tensor([1.0, 0.0]), torch.tensor([0.5, math.sqrt(0.75)])
    found = at(zero, one, 0.25)
    assert found.dot == pytest.approx(0.5)
    expected = [math.cos(math.radians(15)), math.sin(math.radians(15))]
    assert found.tensor.tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (130, 1021), (2, 3, 4)])
@pytest.mark.parametrize("t", [0.01, 0.42, 0.5, 0.99])
def test_any_shape_equals_the_float64_formula(shape: tuple[int, ...], t: float) -> None:
    zero, one = draw(*shape, seed=1), draw(*shape, seed=2) * 3 + 1
    found = at(zero, one, t).tensor
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), reference(zero, one, t), rtol=1e-6, atol=1e-7)


def test_the_pieces_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    zero, one = draw(1000, seed=1), draw(1000, seed=2)
    whole = at(zero, one, 0.3)
    monkeypatch.setattr(slerp, "PIECE", 16)
    monkeypatch.setattr(slerp, "SPAN", 100)
    pieces = at(zero, one, 0.3)
    assert pieces.dot == pytest.approx(whole.dot, rel=1e-12)
    torch.testing.assert_close(pieces.tensor, whole.tensor, rtol=2e-7, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_float_format_is_rounded_once(dtype: torch.dtype) -> None:
    zero, one = draw(500, seed=3).to(dtype), draw(500, seed=4).to(dtype)
    found = at(zero, one, 0.6).tensor
    assert found.dtype == dtype
    error = np.abs(found.double().numpy() - reference(zero, one, 0.6))
    assert error.max() <= torch.finfo(dtype).eps * 4


@pytest.mark.parametrize("t", [0, 1, 0.0, 1.0])
def test_the_ends_return_the_parents_bit_for_bit(t: float) -> None:
    zero, one = draw(64, seed=5), draw(64, seed=6)
    zero[0], one[1] = -0.0, 1e-45
    found = at(zero, one, t).tensor
    parent = one if t else zero
    assert found.numpy().tobytes() == parent.numpy().tobytes()
    assert found.data_ptr() != parent.data_ptr()


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 0.99, 0.9999]))
def test_swapping_the_parents_and_t_gives_the_same_tensor(
    t: float, seed: int, shared: float
) -> None:
    zero, one = draw(50, seed=seed), draw(50, seed=seed + 1)
    one = shared * zero + (1 - shared) * one
    forth, back = at(zero, one, t), at(one, zero, 1 - t)
    assert forth.linear == back.linear
    torch.testing.assert_close(forth.tensor, back.tensor, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_nearly_parallel_tensors_take_a_line_and_say_so(sign: int) -> None:
    zero = draw(400, seed=7)
    one = sign * (2 * zero + 0.01 * draw(400, seed=8))
    found = at(zero, one, 0.25)
    assert found.linear
    assert found.dot is not None
    assert sign * found.dot > NEARLY_PARALLEL
    torch.testing.assert_close(found.tensor, 0.75 * zero + 0.25 * one)


def test_just_below_the_threshold_the_arc_is_taken_and_meets_the_line() -> None:
    angle = math.acos(NEARLY_PARALLEL - 1e-6)
    zero, one = torch.tensor([1.0, 0.0]), torch.tensor([math.cos(angle), math.sin(angle)])
    found = at(zero, one, 0.5)
    assert not found.linear
    torch.testing.assert_close(found.tensor, (zero + one) / 2, rtol=2e-4, atol=0)


def test_a_zero_parent_has_no_angle_and_takes_a_line() -> None:
    one = draw(9, seed=9)
    found = at(torch.zeros(9), one, 0.25)
    assert (found.dot, found.linear) == (None, True)
    torch.testing.assert_close(found.tensor, 0.25 * one)
    both = at(torch.zeros(9), torch.zeros(9), 0.5)
    assert both.linear
    assert both.tensor.tolist() == [0.0] * 9


def test_empty_and_single_valued_tensors() -> None:
    assert at(torch.zeros(0), torch.zeros(0), 0.5).tensor.shape == (0,)
    assert at(torch.tensor(2.0), torch.tensor(4.0), 0.5).tensor.item() == 3.0


def test_a_transposed_view_is_interpolated_by_its_values() -> None:
    zero, one = draw(4, 6, seed=1).T, draw(6, 4, seed=2)
    found = at(zero, one, 0.3).tensor
    np.testing.assert_allclose(found.numpy(), reference(zero, one, 0.3), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("one", "t", "message"),
    [(torch.zeros(3), 0.5, "cannot interpolate"), (torch.zeros(2).double(), 0.5, "float64"),
     (torch.zeros(2), 1.5, "t is 1.5"), (torch.zeros(2), math.nan, "t is nan")],
)  # fmt: skip
def test_what_cannot_be_interpolated_is_an_error(one: Tensor, t: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        at(torch.zeros(2), one, t)


# ------------------------------------------------------------------------- merge stage


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    directory = tmp_path_factory.mktemp("parents")
    return {
        "at_zero": model_artifact(directory / "zero", seed=1),
        "at_one": model_artifact(directory / "one", seed=2),
    }


def copy_with(parent: Artifact, directory: Path, **config: Any) -> Artifact:
    """A copy of a model whose config.json differs."""
    directory.mkdir()
    for file in parent[0].iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    changed = {**json.loads((directory / "config.json").read_text()), **config}
    (directory / "config.json").write_text(json.dumps(changed))
    return directory, {}


def test_every_tensor_is_the_slerp_of_its_parents(
    parents: dict[str, Artifact], tmp_path: Path
) -> None:
    output, results = run_stage(merge.run, {"t": 0.58}, parents, tmp_path)
    zero, one, found = (
        load_file(path / "model.safetensors")
        for path in (parents["at_zero"][0], parents["at_one"][0], output)
    )
    rows = {row["name"]: row for row in read_jsonl(output / "tensors.jsonl")}
    assert found.keys() == zero.keys() == rows.keys()
    for name, tensor in found.items():
        expected = at(zero[name], one[name], 0.58)
        assert torch.equal(tensor, expected.tensor)
        row = rows[name]
        assert (row["dot"], row["linear"]) == (expected.dot, expected.linear)
        assert row["shape"] == list(tensor.shape)
        assert math.cos(math.radians(row["angle_degrees"])) == pytest.approx(row["dot"])
    norms = sorted(name for name in zero if "norm" in name)
    assert sorted(results["linear_fallback"]) == norms  # all ones: parallel
    assert (results["method"], results["t"]) == ("slerp", 0.58)
    assert results["parameters"] == parents["at_zero"][1]["parameters"]


@pytest.mark.parametrize(("t", "parent"), [(0, "at_zero"), (1.0, "at_one")])
def test_the_ends_are_the_parents_files_byte_for_byte(
    parents: dict[str, Artifact], tmp_path: Path, t: float, parent: str
) -> None:
    output, _ = run_stage(merge.run, {"t": t}, parents, tmp_path)
    expected = load_file(parents[parent][0] / "model.safetensors")
    for name, tensor in load_file(output / "model.safetensors").items():
        assert tensor.numpy().tobytes() == expected[name].numpy().tobytes()


def test_swapping_the_parents_gives_the_same_model(
    parents: dict[str, Artifact], tmp_path: Path
) -> None:
    swapped = {"at_zero": parents["at_one"], "at_one": parents["at_zero"]}
    forth, _ = run_stage(merge.run, {"t": 0.3}, parents, tmp_path / "forth")
    back, _ = run_stage(merge.run, {"t": 0.7}, swapped, tmp_path / "back")
    expected = load_file(back / "model.safetensors")
    for name, tensor in load_file(forth / "model.safetensors").items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-6, atol=1e-8)


def test_the_merge_is_a_hugging_face_directory(
    parents: dict[str, Artifact], tmp_path: Path
) -> None:
    output, _ = run_stage(merge.run, {"t": 0.5}, parents, tmp_path)
    names = {path.name for path in parents["at_zero"][0].iterdir()}
    assert {path.name for path in output.iterdir()} == names | {"tensors.jsonl"}
    model = AutoModelForCausalLM.from_pretrained(output)
    assert model(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_the_same_merge_gives_the_same_bytes(parents: dict[str, Artifact], tmp_path: Path) -> None:
    first, second = (run_stage(merge.run, {"t": 0.4}, parents, tmp_path / name)[0] for name in "ab")
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


def test_tied_embeddings_are_merged_once(tmp_path: Path) -> None:
    tied = {
        name: model_artifact(tmp_path / name, seed=seed, tied_embeddings=True)
        for seed, name in enumerate(("at_zero", "at_one"))
    }
    output, results = run_stage(merge.run, {"t": 0.5}, tied, tmp_path / "run")
    assert "lm_head.weight" not in load_file(output / "model.safetensors")
    assert results["parameters"] == tied["at_zero"][1]["parameters"]
    model = AutoModelForCausalLM.from_pretrained(output)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_other_shapes_are_named(parents: dict[str, Artifact], tmp_path: Path) -> None:
    wider = model_artifact(tmp_path / "wider", mlp=64)
    with pytest.raises(
        StageError, match=r"mlp\.down_proj\.weight has the shape \[32, 48\] at_zero"
    ):
        run_stage(merge.run, {"t": 0.5}, {**parents, "at_one": wider}, tmp_path / "run")


def test_a_missing_layer_is_named(parents: dict[str, Artifact], tmp_path: Path) -> None:
    deeper = model_artifact(tmp_path / "deeper", layers=3)
    with pytest.raises(StageError, match=r"only at_one has the tensor model\.layers\.2"):
        run_stage(merge.run, {"t": 0.5}, {**parents, "at_one": deeper}, tmp_path / "run")


def test_the_same_shapes_with_another_meaning_are_refused(
    parents: dict[str, Artifact], tmp_path: Path
) -> None:
    other = copy_with(parents["at_one"], tmp_path / "other", num_attention_heads=8)
    with pytest.raises(StageError, match="num_attention_heads is 4 at_zero and 8 at_one"):
        run_stage(merge.run, {"t": 0.5}, {**parents, "at_one": other}, tmp_path / "run")


def test_another_vocabulary_is_refused_and_the_token_named(
    parents: dict[str, Artifact], tmp_path: Path
) -> None:
    other = copy_with(parents["at_one"], tmp_path / "other")
    swapped, _ = tokenizer_artifact(tmp_path / "tokenizer", swap=True)
    (other[0] / "tokenizer.json").write_bytes((swapped / "tokenizer.json").read_bytes())
    with pytest.raises(StageError, match=r"token 'filler4\d' has id 29\d at_zero and 29\d at_one"):
        run_stage(merge.run, {"t": 0.5}, {**parents, "at_one": other}, tmp_path / "run")


def test_a_tokenizer_file_written_another_way_is_the_same_vocabulary(
    parents: dict[str, Artifact], tmp_path: Path
) -> None:
    other = copy_with(parents["at_one"], tmp_path / "other")
    path = other[0] / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert check_parents(parents["at_zero"][0], other[0])


@pytest.mark.parametrize("t", [-0.1, 1.5])
def test_t_outside_the_arc_is_refused(
    parents: dict[str, Artifact], tmp_path: Path, t: float
) -> None:
    with pytest.raises(StageError, match=f"t is {t}"):
        run_stage(merge.run, {"t": t}, parents, tmp_path)


@pytest.mark.parametrize("change", ["nan", "integer"])
def test_values_that_have_no_place_between_are_named(
    parents: dict[str, Artifact], tmp_path: Path, change: str
) -> None:
    other = copy_with(parents["at_one"], tmp_path / "other")
    stored = load_file(other[0] / "model.safetensors")
    name = "model.norm.weight"
    stored[name] = stored[name] * math.nan if change == "nan" else stored[name].int()
    save_file(stored, other[0] / "model.safetensors", {"format": "pt"})
    with pytest.raises(StageError, match=rf"{name} (holds values|is F32 at_zero and I32)"):
        run_stage(merge.run, {"t": 0.5}, {**parents, "at_one": other}, tmp_path / "run")


def test_a_merge_leaves_when_asked(parents: dict[str, Artifact], tmp_path: Path) -> None:
    stage = make_stage({"t": 0.5}, parents, tmp_path)
    stage._stop.set()
    with pytest.raises(Leave):
        merge.run(stage)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_written_files_are_read_back_by_safetensors(tmp_path: Path, dtype: torch.dtype) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    tensors = {
        "b": draw(3, 5).to(dtype), "a": draw(2, 2, 2).double(), "c": draw(1).half(),
        "empty": torch.zeros(0, 4), "scalar": torch.tensor(2.5),
    }  # fmt: skip
    save_file(tensors, source / "model.safetensors")
    expected = layouts(source)
    with Writer(target, expected) as writer:
        for name in reversed(expected):
            values = read(source, name).reshape(-1)
            for first in reversed(range(0, len(values), 4)):
                writer.put(name)(first, values[first : first + 4])
    found = load_file(target / "model.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
