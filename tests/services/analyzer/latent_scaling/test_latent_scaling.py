"""Features without a match that the other model has all the same, and those that it lacks.

N: tokens, D: width, F: features, G: true features of a toy world.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from services.analyzer.encode import run as run_encode
from services.analyzer.latent_scaling import stage as latent_scaling
from services.analyzer.latent_scaling.moments import (
    RIDGE,
    Sums,
    readable,
    scaling_factors,
    variance,
)
from services.analyzer.latent_scaling.stage import run
from services.analyzer.latent_scaling.verdicts import Measurements, Side, Verdict, judge, measure
from shared.lm.dictionary import Dictionary
from shared.stages.stage import Leave, StageError
from tests.support.dictionaries import CONTEXT, WIDTH, packed_tokens, tiny_model
from tests.support.planted import codes_of, firing
from tests.support.stages import make_stage, run_stage

Array = npt.NDArray[Any]
Inputs = dict[str, tuple[Path, dict[str, Any]]]


def chunks(x_ND: Array, size: int = 700) -> Iterator[Tensor]:
    for start in range(0, len(x_ND), size):
        yield torch.from_numpy(x_ND[start : start + size].astype(np.float32))


def halves_by_document(n: int, length: int = 20) -> npt.NDArray[np.int64]:
    return (np.arange(n) // length) % 2


def filled(f_NF: Array, x_ND: Array, half_N: Array, live: list[int], size: int) -> Sums:
    live_L = np.array(live, dtype=np.int64)
    sums = Sums(codes_of(f_NF), live_L, x_ND.shape[1], torch.device("cpu"))
    start = 0
    for part_ND in chunks(x_ND, size):
        sums.add(start, part_ND, half_N[start : start + len(part_ND)])
        start += len(part_ND)
    return sums


@pytest.mark.parametrize("size", [37, 500])
def test_sums_equal_the_dense_products_they_stand_for(size: int) -> None:
    rng = np.random.default_rng(0)
    f_NF, x_ND = firing(rng, 500, 8, 0.2), rng.normal(size=(500, 6)).astype(np.float32)
    half_N, live = halves_by_document(500), [1, 2, 5, 7]
    for half, found in enumerate(filled(f_NF, x_ND, half_N, live, size).halves()):
        f_NL = f_NF[half_N == half][:, live].astype(np.float64)
        x = x_ND[half_N == half].astype(np.float64)
        assert found.tokens == len(x)
        np.testing.assert_allclose(found.x_D, x.sum(0), atol=1e-4)
        np.testing.assert_allclose(found.xx_DD, x.T @ x, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found.f_L, f_NL.sum(0), rtol=1e-12)
        np.testing.assert_allclose(found.ff_L, (f_NL**2).sum(0), rtol=1e-12)
        np.testing.assert_allclose(found.fx_LD, f_NL.T @ x, rtol=1e-5, atol=1e-4)


def test_beta_is_the_least_squares_factor_of_the_centred_feature_and_activations() -> None:
    rng = np.random.default_rng(1)
    f_NF, noise_ND = firing(rng, 900, 5, 0.3), rng.normal(size=(900, 7))
    directions_FD = rng.normal(size=(5, 7))
    x_ND = 0.7 * f_NF @ directions_FD + noise_ND + 3
    even, odd = filled(f_NF, x_ND, halves_by_document(900), list(range(5)), 100).halves()
    centred_ND = x_ND - x_ND.mean(0)
    for feature, beta in enumerate(scaling_factors(even, odd, directions_FD)):
        f_N = f_NF[:, feature] - f_NF[:, feature].mean()
        column = np.outer(f_N, directions_FD[feature]).reshape(-1, 1)
        expected = np.linalg.lstsq(column, centred_ND.reshape(-1), rcond=None)[0][0]
        assert beta == pytest.approx(expected, rel=1e-4)
    assert variance(even, odd) == pytest.approx(x_ND.var(axis=0).sum(), rel=1e-4)


def reference_r2(f_N: Array, x_ND: Array, half_N: Array) -> float:
    """Ridge on the even documents with an intercept, R^2 on the odd ones, prediction by token."""
    x, y = x_ND[half_N == 0], f_N[half_N == 0]
    centred = x - x.mean(0)
    products = centred.T @ centred
    penalty = RIDGE * np.trace(products) / len(products)
    w = np.linalg.solve(products + penalty * np.eye(len(products)), centred.T @ (y - y.mean()))
    predicted = y.mean() + (x_ND[half_N == 1] - x.mean(0)) @ w
    measured = f_N[half_N == 1]
    return float(
        1 - np.square(measured - predicted).sum() / np.square(measured - measured.mean()).sum()
    )


@pytest.mark.parametrize("columns", [2, 100])
def test_r2_from_moments_is_that_of_a_regression_that_sees_every_token(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr("services.analyzer.latent_scaling.moments.RIDGE_COLUMNS", columns)
    rng = np.random.default_rng(2)
    f_NF = firing(rng, 800, 5, 0.2)
    x_ND = (f_NF[:, :3] @ rng.normal(size=(3, 12)) + rng.normal(size=(800, 12)) + 2).astype("f4")
    half_N = halves_by_document(800)
    found = readable(*filled(f_NF, x_ND, half_N, list(range(5)), 300).halves())
    expected = [
        reference_r2(f_NF[:, i].astype(float), x_ND.astype(float), half_N) for i in range(5)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert min(expected[:3]) > 0.5
    assert max(expected[3:]) < 0.1


def test_r2_is_undefined_without_odd_documents_or_for_a_constant_feature() -> None:
    rng = np.random.default_rng(3)
    f_NF, x_ND = firing(rng, 200, 3, 0.5), rng.normal(size=(200, 4))
    nowhere = readable(*filled(f_NF, x_ND, np.zeros(200, np.int64), [0, 1, 2], 50).halves())
    assert np.isnan(nowhere).all()
    f_NF[:, 1] = 1
    even, odd = filled(f_NF, x_ND, halves_by_document(200), [0, 1, 2], 50).halves()
    assert np.isnan(readable(even, odd)).tolist() == [False, True, False]
    assert np.isnan(scaling_factors(even, odd, np.ones((3, 4)))).tolist() == [False, True, False]
    still = filled(f_NF, np.full((200, 4), 2.0), halves_by_document(200), [0, 1, 2], 50)
    assert np.isnan(readable(*still.halves())).all()


class Pair:
    """A parent and a child of 24 true features on one token stream, in 32 dimensions.

    Features 0 to 15 are in both, 16 to 19 in the parent, 20 to 23 in the child. The parent's
    dictionary knows 0 to 11 and 16 to 19, the child's 4 to 15 and 20 to 23: of the child's features
    those numbered 12 to 15 falsely emerge, of the parent's 0 to 3 falsely disappear.
    """

    def __init__(self, tokens: int = 6000) -> None:
        rng = np.random.default_rng(5)
        self.true_NG = firing(rng, tokens, 24, 0.05)
        directions_GD = rng.normal(size=(24, 32))
        self.directions_GD = directions_GD / np.linalg.norm(directions_GD, axis=1, keepdims=True)
        self.parent = [*range(12), *range(16, 20)]
        self.child = [*range(4, 16), *range(20, 24)]
        noise_ND = 0.05 * rng.normal(size=(2, tokens, 32))
        self.x_parent = self._activations([*range(20)]) + noise_ND[0]
        self.x_child = self._activations([*range(16), *range(20, 24)]) + noise_ND[1]
        self.half_N = halves_by_document(tokens)

    def _activations(self, present: list[int]) -> Array:
        made: Array = self.true_NG[:, present] @ self.directions_GD[present]
        return made

    def side(self, features: list[int], change: str, rotation: Array | None = None) -> Side:
        """A perfect dictionary of these features; what the other lacks has the status `change`."""
        both = set(self.parent) & set(self.child)
        status = ["persist" if feature in both else change for feature in features]
        directions_FD = self.directions_GD[features]
        if rotation is not None:
            directions_FD = directions_FD @ rotation
        codes = codes_of(self.true_NG[:, features])
        return Side(codes, directions_FD, np.array(status), np.arange(len(features)))

    def verdicts(
        self, same_basis: bool = True, rotation: Array | None = None, factor: float = 1.0
    ) -> tuple[Verdict, Verdict]:
        """Of the parent and of the child, whose activations are turned and stretched."""
        parent = self.side(self.parent, "disappear")
        child = self.side(self.child, "emerge", rotation)
        x_child = self.x_child if rotation is None else self.x_child @ rotation
        in_parent = measure(chunks(self.x_parent), parent, child, self.half_N)
        in_child = measure(chunks(factor * x_child), child, parent, self.half_N)
        return (
            judge(parent, in_parent, in_child, same_basis),
            judge(child, in_child, in_parent, same_basis),
        )


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


def numbered(features: list[int], mask_F: Array) -> list[int]:
    return [feature for feature, flag in zip(features, mask_F, strict=True) if flag]


def test_features_that_only_the_dictionary_lacks_are_flagged_and_new_ones_are_not(
    pair: Pair,
) -> None:
    parent, child = pair.verdicts()
    assert numbered(pair.parent, parent.false_change("disappear")) == [0, 1, 2, 3]
    assert numbered(pair.child, child.false_change("emerge")) == [12, 13, 14, 15]
    for verdict in (parent, child):
        np.testing.assert_allclose(verdict.own_F, 1, atol=0.15)
        np.testing.assert_allclose(verdict.ratio_F[:12], 1, atol=0.2)
        assert np.abs(verdict.ratio_F[12:]).max() < 0.25
        assert verdict.readable_F[:12].min() > 0.8
        assert verdict.readable_F[12:].max() < 0.3
        np.testing.assert_allclose(verdict.ratio_F, verdict.other_F / verdict.own_F)


def test_either_sign_is_enough_and_a_feature_with_a_match_is_never_flagged(pair: Pair) -> None:
    """Three features: by ratio, by regression, by both but with a match."""
    ones = np.ones(3)
    verdict = Verdict(
        np.array(["emerge", "emerge", "persist"]),
        ones,
        ones,
        ratio_F=np.array([0.5, np.nan, 1.0]),
        readable_F=np.array([0.49, 0.5, 1.0]),
    )
    assert verdict.false_change("emerge").tolist() == [True, True, False]
    below = Verdict(verdict.status_F, ones, ones, ones * 0.49, ones * np.nan)
    assert not below.false_change("emerge").any()


def test_in_a_rotated_basis_the_ratio_is_useless_and_the_regression_still_works(
    pair: Pair,
) -> None:
    rotation = np.linalg.qr(np.random.default_rng(8).normal(size=(32, 32)))[0]
    _, blind = pair.verdicts(rotation=rotation)
    assert np.abs(blind.ratio_F).max() < 0.5
    parent, child = pair.verdicts(rotation=rotation, same_basis=False)
    assert np.isnan(child.ratio_F).all()
    assert np.isnan(child.other_F).all()
    assert np.isfinite(child.own_F).all()
    assert numbered(pair.parent, parent.false_change("disappear")) == [0, 1, 2, 3]
    assert numbered(pair.child, child.false_change("emerge")) == [12, 13, 14, 15]


def test_another_scale_or_offset_of_the_childs_activations_changes_no_ratio(pair: Pair) -> None:
    """The common scale takes the factor out, centring the offset."""
    plain, moved = pair.verdicts(), Pair()
    moved.x_child = moved.x_child + 5
    for changed in (pair.verdicts(factor=20.0), moved.verdicts()):
        for before, after in zip(plain, changed, strict=True):
            np.testing.assert_allclose(after.readable_F, before.readable_F, atol=1e-4)
            np.testing.assert_allclose(after.ratio_F, before.ratio_F, atol=1e-4)


def test_an_undefined_own_beta_gives_no_ratio() -> None:
    side = Side(
        codes_of(np.eye(3)), np.eye(3), np.array(["emerge", "rare", "emerge"]), np.array([0, 2])
    )
    own = Measurements(1.0, np.array([-0.1, 2.0]), np.empty(0), np.empty(0))
    other = Measurements(4.0, np.empty(0), np.array([3.0, 4.0]), np.array([0.1, 0.2]))
    verdict = judge(side, own, other, same_basis=True)
    np.testing.assert_allclose(verdict.other_F, [1.5, np.nan, 2.0])
    np.testing.assert_allclose(verdict.ratio_F, [np.nan, np.nan, 1.0])
    rows = verdict.table("emerge").to_pylist()
    assert rows[1] == {
        "feature": 1,
        "own": None,
        "other": None,
        "ratio": None,
        "readable": None,
        "false_change": None,
    }
    assert (rows[0]["ratio"], rows[0]["false_change"]) == (None, False)
    assert (rows[2]["ratio"], rows[2]["false_change"]) == (1.0, True)


# ------------------------------------------------------------------------------- the stage

FEATURES = {"parent": 24, "child": 32}
PARAMETERS = {"layer": 1, "tokens": 512, "context": CONTEXT}


def write_dictionary(directory: Path, features: int, width: int = WIDTH) -> Path:
    """The first features of one random dictionary."""
    directory.mkdir()
    decoder_FD = torch.randn(64, width, generator=torch.Generator().manual_seed(3))[:features]
    decoder_FD = decoder_FD / decoder_FD.norm(dim=1, keepdim=True)
    Dictionary(
        encoder_DF=decoder_FD.T.contiguous(),
        encoder_bias_F=torch.full((features,), -0.02),
        decoder_FD=decoder_FD,
        decoder_bias_D=torch.zeros(width),
        hook="mlp_post",
        layer=1,
    ).save(directory)
    return directory


def write_statuses(directory: Path, name: str, statuses: list[str]) -> None:
    table = pa.table({"feature": range(len(statuses)), "status": statuses})
    pq.write_table(table, directory / f"{name}.parquet")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """One model as parent and child: what emerges in the child's larger dictionary is no news."""
    directory = tmp_path_factory.mktemp("inputs")
    found: Inputs = {
        "tokens/0": (packed_tokens(directory / "a", seed=1), {"end_of_text": 0}),
        "tokens/1": (packed_tokens(directory / "b", seed=2), {"end_of_text": 0}),
    }
    model = tiny_model(directory / "model")
    for name, features in FEATURES.items():
        dictionary = write_dictionary(directory / f"{name}_dictionary", features)
        codes = run_encode_on(model, dictionary, found, directory / f"{name}_codes")
        found |= {name: (model, {}), f"{name}_dictionary": (dictionary, {}), f"{name}_codes": codes}
    (directory / "match").mkdir()
    write_statuses(directory / "match", "parent", ["persist"] * 23 + ["rare"])
    write_statuses(directory / "match", "child", ["persist"] * 24 + ["emerge"] * 7 + ["rare"])
    return {**found, "match": (directory / "match", {})}


def run_encode_on(
    model: Path, dictionary: Path, inputs: Inputs, directory: Path
) -> tuple[Path, dict[str, Any]]:
    given = {"model": (model, {}), "dictionary": (dictionary, {}), **inputs}
    tokens = {name: given[name] for name in ("model", "dictionary", "tokens/0", "tokens/1")}
    return run_stage(run_encode, PARAMETERS, tokens, directory)


def test_what_emerges_in_a_copy_of_the_parent_is_flagged(inputs: Inputs, tmp_path: Path) -> None:
    output, results = run_stage(run, PARAMETERS, inputs, tmp_path)
    assert results == {
        "disappear": 0,
        "false_disappear": 0,
        "emerge": 7,
        "false_emerge": 7,
        "same_basis": True,
    }
    rows = pq.read_table(output / "child.parquet").to_pylist()
    assert [row["feature"] for row in rows] == list(range(32))
    assert [row["false_change"] for row in rows] == [False] * 24 + [True] * 7 + [None]
    for row in rows[:31]:
        assert row["ratio"] == pytest.approx(1, abs=1e-6)
        assert row["own"] == pytest.approx(row["other"], abs=1e-6)
    assert rows[31]["own"] is rows[31]["readable"] is None
    assert pq.read_table(output / "parent.parquet").num_rows == 24


def test_without_a_common_basis_there_are_no_ratios(inputs: Inputs, tmp_path: Path) -> None:
    output, results = run_stage(run, {**PARAMETERS, "same_basis": False}, inputs, tmp_path)
    assert results["same_basis"] is False
    table = pq.read_table(output / "child.parquet")
    assert table.column("ratio").null_count == table.column("other").null_count == 32
    assert table.column("readable").null_count == table.column("own").null_count == 1


def test_smaller_chunks_change_nothing_but_the_memory(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run_stage(run, PARAMETERS, inputs, tmp_path / "whole")
    monkeypatch.setattr(latent_scaling, "BATCH_TOKENS", 3 * CONTEXT)
    monkeypatch.setattr(latent_scaling, "CHUNK_VALUES", 7 * CONTEXT * WIDTH)
    parts, _ = run_stage(run, PARAMETERS, inputs, tmp_path / "parts")
    for column in ("own", "other", "readable"):
        values = [
            pq.read_table(path / "child.parquet").column(column).to_pylist()[:31]
            for path in (whole, parts)
        ]
        np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-4)


def test_the_same_inputs_give_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    one, two = (run_stage(run, PARAMETERS, inputs, tmp_path / name)[0] for name in "ab")
    for name in ("parent.parquet", "child.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_stage_that_is_asked_to_stop_leaves(inputs: Inputs, tmp_path: Path) -> None:
    stage = make_stage(PARAMETERS, inputs, tmp_path)
    stage._stop.set()
    with pytest.raises(Leave):
        run(stage)


def wider(directory: Path) -> Path:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model(directory / "narrow"))
    model.config.intermediate_size = WIDTH + 8
    type(model)(model.config).save_pretrained(directory / "wide")
    return directory / "wide"


def test_models_of_different_widths_have_no_common_basis_but_can_be_read(
    inputs: Inputs, tmp_path: Path
) -> None:
    model = wider(tmp_path)
    dictionary = write_dictionary(tmp_path / "dictionary", FEATURES["child"], WIDTH + 8)
    codes = run_encode_on(model, dictionary, inputs, tmp_path / "codes")
    changed = {"child": (model, {}), "child_dictionary": (dictionary, {}), "child_codes": codes}
    with pytest.raises(StageError, match="same_basis: parent and child have different widths"):
        run_stage(run, PARAMETERS, {**inputs, **changed}, tmp_path / "same")
    settings = {**PARAMETERS, "same_basis": False}
    output, _ = run_stage(run, settings, {**inputs, **changed}, tmp_path / "other")
    assert pq.read_table(output / "child.parquet").column("readable").null_count == 1


def test_inputs_that_do_not_belong_together_are_refused(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"parent_codes covers 512 tokens.*stream of 256"):
        run_stage(run, {**PARAMETERS, "tokens": 256}, inputs, tmp_path / "a")
    swapped = {**inputs, "child_dictionary": inputs["parent_dictionary"]}
    with pytest.raises(StageError, match="child: the dictionary has 24 features, its codes 32"):
        run_stage(run, PARAMETERS, swapped, tmp_path / "b")
    narrow = write_dictionary(tmp_path / "narrow", FEATURES["child"], WIDTH - 8)
    unfit = {**inputs, "child_dictionary": (narrow, {})}
    settings = {**PARAMETERS, "same_basis": False}
    with pytest.raises(StageError, match=f"child: the dictionary was trained at width {WIDTH - 8}"):
        run_stage(run, settings, unfit, tmp_path / "d")
    with pytest.raises(StageError, match="parent: layer 9 is out of range"):
        run_stage(run, {**PARAMETERS, "layer": 9}, inputs, tmp_path / "c")


def test_activations_that_are_not_finite_are_refused(pair: Pair) -> None:
    side = pair.side(pair.parent, "disappear")
    broken_ND = pair.x_parent.copy()
    broken_ND[17, 3] = np.nan
    with pytest.raises(StageError, match="not finite"):
        measure(chunks(broken_ND), side, side, pair.half_N)
