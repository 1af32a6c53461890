"""Activations in shards, and the two sources that a dictionary trains from.

V: vectors, D: width.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from services.sae import activations as source
from services.sae import harvest
from services.sae.activations import Cut, ModelSource, Rounds, ShardSource
from services.sae.harvest import shard_name
from shared.data.token_stream import TrainingStream
from shared.lm.hooks import HOOKS, activations, width
from shared.lm.load import load_model
from shared.records.artifacts import Descriptions
from shared.records.checkpoints import Checkpoints
from shared.stages.stage import Leave, StageError
from shared.store import LocalStore
from shared.worker.child import no_space
from tests.support.dictionaries import CONTEXT, WIDTH, packed_tokens, tiny_model
from tests.support.language_models import shaped_directory
from tests.support.stages import make_stage, run_stage

PARAMETERS = {
    "layer": 1,
    "tokens": 100 * CONTEXT + 3,
    "context": CONTEXT,
    "precision": "float32",
    "seed": 7,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    directory = tmp_path_factory.mktemp("inputs")
    return {
        "model": (tiny_model(directory / "model"), {}),
        "tokens/0": (packed_tokens(directory / "a", seed=1), {}),
        "tokens/1": (packed_tokens(directory / "b", blocks=20, seed=2), {}),
    }


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five contexts a forward pass, ten a shard: the sizes of a test."""
    monkeypatch.setattr(source, "FORWARD_TOKENS", {"cpu": 5 * CONTEXT})
    monkeypatch.setattr(harvest, "SHARD_BYTES", 2 * 5 * CONTEXT * WIDTH * 4)


def shards(directory: Path) -> list[Path]:
    return sorted(directory.glob("activations-*.safetensors"))


def stored(directory: Path, name: str = "activations") -> Tensor:
    return torch.cat([load_file(shard)[name] for shard in shards(directory)])


def stream_of(inputs: dict[str, tuple[Path, dict[str, Any]]], seed: int = 7) -> TrainingStream:
    return TrainingStream([inputs["tokens/0"][0], inputs["tokens/1"][0]], CONTEXT, seed)


def test_shards_hold_the_activations_of_the_stream_in_its_order(
    inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    output, results = run_stage(harvest.run, PARAMETERS, inputs, tmp_path)
    assert results == {"vectors": 100 * CONTEXT, "width": WIDTH, "shards": 10}
    assert [shard.name for shard in shards(output)] == [shard_name(i) for i in range(10)]
    tokens_CT = torch.from_numpy(stream_of(inputs).batch(0, 100))
    expected_VD = activations(load_model(inputs["model"][0]), tokens_CT, "mlp_post", 1)
    torch.testing.assert_close(stored(output), expected_VD.reshape(-1, WIDTH), rtol=1e-4, atol=1e-5)
    assert torch.equal(stored(output, "position"), torch.arange(100 * CONTEXT))


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("shape", ["llama", "gpt2", "gpt-neox"])
def test_every_hook_of_every_shape_can_be_stored(
    shape: str, hook: str, inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    directory = shaped_directory(tmp_path, shape)
    parameters = PARAMETERS | {"hook": hook}
    output, results = run_stage(
        harvest.run, parameters, inputs | {"model": (directory, {})}, tmp_path / "run"
    )
    model = load_model(directory)
    tokens_CT = torch.from_numpy(stream_of(inputs).batch(0, 100))
    expected_VD = activations(model, tokens_CT, hook, 1).flatten(0, 1)
    torch.testing.assert_close(stored(output), expected_VD, rtol=1e-4, atol=1e-4)
    assert results["width"] == width(model, hook, 1) == stored(output).shape[1]


def test_bfloat16_shards_are_the_rounded_float32_ones(
    inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    full, _ = run_stage(harvest.run, PARAMETERS, inputs, tmp_path / "full")
    half, _ = run_stage(
        harvest.run, PARAMETERS | {"precision": "bfloat16"}, inputs, tmp_path / "half"
    )
    assert torch.equal(stored(half), stored(full).bfloat16())


def test_the_same_harvest_gives_the_same_bytes(
    inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    first, _ = run_stage(harvest.run, PARAMETERS, inputs, tmp_path / "1")
    second, _ = run_stage(harvest.run, PARAMETERS, inputs, tmp_path / "2")
    assert [a.read_bytes() for a in shards(first)] == [b.read_bytes() for b in shards(second)]


def test_a_harvest_that_was_asked_to_leave_goes_on_after_its_last_whole_shard(
    inputs: dict[str, tuple[Path, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, _ = run_stage(harvest.run, PARAMETERS, inputs, tmp_path / "whole")
    stage = make_stage(PARAMETERS, inputs, tmp_path / "left")
    written: list[int] = []
    original = harvest.Harvest.write

    def write(self: harvest.Harvest, number: int, to: Any) -> None:
        original(self, number, to)
        written.append(number)
        if number == 3:
            stage._stop.set()

    monkeypatch.setattr(harvest.Harvest, "write", write)
    with pytest.raises(Leave):
        harvest.run(stage)
    resume = stage.checkpoints / "4"
    assert len(shards(resume)) == 4
    output, results = run_stage(
        harvest.run, PARAMETERS, inputs, tmp_path / "resumed", resume=resume
    )
    assert written == list(range(10))
    assert results["shards"] == 10
    assert [a.read_bytes() for a in shards(whole)] == [b.read_bytes() for b in shards(output)]


def test_every_shard_can_be_in_a_checkpoint_and_only_new_ones_are_stored(
    inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    stage = make_stage(PARAMETERS, inputs, tmp_path)
    stage.checkpoint_seconds = 0
    harvest.run(stage)
    directories = sorted(stage.checkpoints.iterdir(), key=lambda path: int(path.name))
    assert [len(shards(path)) for path in directories] == list(range(1, 11))

    checkpoints, known = Checkpoints(LocalStore(tmp_path / "store")), Descriptions()
    for step, path in enumerate(directories, 1):
        checkpoints.save("k", step, checkpoints.delivery("k", "a", step, path, known))
        assert len(shards(path)) == step - 1, "one was moved into the store"
    newest = checkpoints.newest("k")
    assert newest is not None
    fetched = checkpoints.fetch(newest, tmp_path / "fetched")
    whole = [path.read_bytes() for path in shards(stage.output)]
    assert [path.read_bytes() for path in shards(fetched)] == whole


def test_a_full_disk_is_known_before_anything_is_computed(
    inputs: dict[str, tuple[Path, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(OSError, match=r"0\.0 GB are free") as error:
        run_stage(harvest.run, PARAMETERS, inputs, tmp_path)
    assert no_space(error.value), "tried again when there is space"


def test_a_disk_that_could_never_hold_the_activations_is_a_sentence_for_the_user(
    inputs: dict[str, tuple[Path, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(total=10, free=10))
    with pytest.raises(StageError, match=r"the disk has 0\.0 GB: use fewer tokens"):
        run_stage(harvest.run, PARAMETERS, inputs, tmp_path)


def test_safetensors_words_for_a_full_disk_are_understood() -> None:
    assert no_space(SafetensorError("Error: I/O error: No space left on device (os error 28)"))
    assert not no_space(SafetensorError("invalid header"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layer": 2}, "layer 2 is out of range"),
        ({"tokens": CONTEXT - 1}, "tokens: 15 is less than one context of 16"),
        ({"context": 10_000, "tokens": 20_000}, "context: the corpora hold no whole context"),
    ],
)
def test_a_harvest_that_cannot_be_made_says_which_parameter_is_wrong(
    inputs: dict[str, tuple[Path, dict[str, Any]]],
    tmp_path: Path,
    changes: dict[str, int],
    sentence: str,
) -> None:
    with pytest.raises(StageError, match=sentence):
        run_stage(harvest.run, PARAMETERS | changes, inputs, tmp_path)


def test_the_model_and_its_harvest_give_the_same_vectors_step_by_step(
    inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    output, _ = run_stage(harvest.run, PARAMETERS, inputs, tmp_path)
    live = ModelSource(load_model(inputs["model"][0]), stream_of(inputs), 8, "mlp_post", 1)
    kept = ShardSource(shards(output), 8 * CONTEXT, torch.device("cpu"))
    assert live.width == kept.width == WIDTH
    assert kept.steps == 100 // 8
    for first, count in [(0, 3), (3, 1), (5, 7)]:
        torch.testing.assert_close(
            kept.read(first, count), live.read(first, count), rtol=1e-4, atol=1e-5
        )


def test_a_harvest_is_read_in_a_circle_from_where_a_replicate_begins(
    inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    output, _ = run_stage(harvest.run, PARAMETERS, inputs, tmp_path)
    n = 8 * CONTEXT
    everything = stored(output)
    kept = ShardSource(shards(output), n, torch.device("cpu"), begin=10)
    expected = torch.cat([everything[10 * n : 12 * n], everything[: 2 * n]])
    assert torch.equal(kept.read(0, 4), expected)
    assert torch.equal(kept.read(12, 4), expected)


def test_a_harvest_shorter_than_a_step_is_refused(
    inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    output, _ = run_stage(harvest.run, PARAMETERS, inputs, tmp_path)
    with pytest.raises(ValueError, match="less than one step of 1000000 vectors"):
        ShardSource(shards(output), 1_000_000, torch.device("cpu"))


@dataclasses.dataclass
class Counting:
    """A source whose vectors are their own numbers."""

    vectors: int
    width: int = 1

    def read(self, first: int, count: int) -> Tensor:
        numbers = torch.arange(first * self.vectors, (first + count) * self.vectors)
        return numbers.float()[:, None]


def rounds(steps: int, seed: int = 0) -> Rounds:
    return Rounds(Counting(vectors=32), Cut(context=8, batch=4, width=1), steps, [seed])


def test_a_round_gives_every_vector_once_and_mixes_its_steps() -> None:
    given = rounds(steps=20)
    steps = [given.step(number)[:, 0] for number in range(20)]
    seen = torch.cat(steps).long()
    assert torch.equal(seen.sort().values, torch.arange(20 * 32))
    assert torch.equal(seen[: 16 * 32].sort().values, torch.arange(16 * 32))
    # A step of the first round has vectors of nearly all of its sixteen steps.
    assert len(torch.unique(steps[0].long() // 32)) >= 10


def test_a_step_depends_on_its_number_and_the_seed_only() -> None:
    forward, other = rounds(20), rounds(20, seed=1)
    straight = [forward.step(number).clone() for number in range(20)]
    assert torch.equal(rounds(20).step(17), straight[17])
    assert torch.equal(rounds(20).step(3), straight[3])
    assert not torch.equal(other.step(3), straight[3])


def test_a_wide_model_gets_shorter_rounds_so_that_memory_stays_bounded() -> None:
    assert Cut(context=24, batch=128, width=64).round_steps == 16
    wide = Cut(context=24, batch=128, width=8192)
    assert wide.round_steps == 1
    paper = Cut(context=24, batch=128, width=1024)
    assert 4 <= paper.round_steps <= 16
    assert paper.round_steps * paper.vectors * 1024 * 4 <= source.ROUND_BYTES


def test_positions_are_whole_numbers_of_the_stream(
    inputs: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    output, _ = run_stage(harvest.run, PARAMETERS, inputs, tmp_path)
    shard = load_file(shards(output)[3])
    assert shard["position"].dtype == torch.int64
    position = int(shard["position"][17])
    token = stream_of(inputs).batch(position // CONTEXT, 1)[0, position % CONTEXT]
    assert 0 <= token < np.iinfo(np.uint16).max
    tokens_BT = torch.from_numpy(stream_of(inputs).batch(position // CONTEXT, 1))
    alone_TD = activations(load_model(inputs["model"][0]), tokens_BT, "mlp_post", 1)[0]
    torch.testing.assert_close(
        shard["activations"][17], alone_TD[position % CONTEXT], rtol=1e-4, atol=1e-5
    )
