"""Models from outside: only a whole, plain Hugging Face directory with our vocabulary gets in."""

from __future__ import annotations

import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import errors
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from services.trainer import evaluate
from services.trainer import import_model as imports
from services.trainer.train import stage as train
from shared.data.unpack import unpack
from shared.stages.stage import StageError
from tests.support.language_models import (
    BLOCK,
    SHAPES,
    VOCABULARY,
    Artifact,
    model_artifact,
    read_jsonl,
    shaped_directory,
    tokenizer_artifact,
    tokens_artifact,
)
from tests.support.stages import run_stage

DIGEST = "d" * 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_artifact(tmp_path_factory.mktemp("model"), seed=5)[0]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Artifact:
    return tokenizer_artifact(tmp_path / "tokenizer")


def files_of(model: Path, folder: str = "my-model/") -> dict[str, bytes]:
    return {folder + file.name: file.read_bytes() for file in sorted(model.iterdir())}


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def import_upload(
    archive: Path, form: str, tokenizer: Artifact, directory: Path
) -> tuple[Path, dict[str, Any]]:
    parameters = {"upload": DIGEST, "format": form}
    inputs = {"tokenizer": tokenizer}
    return run_stage(imports.run, parameters, inputs, directory, uploads={DIGEST: archive})


@pytest.mark.parametrize(("form", "pack"), [("zip", zipped), ("tar", tarred)], ids=["zip", "tar"])
@pytest.mark.parametrize("folder", ["", "deep/er/"])
def test_an_uploaded_model_comes_out_with_its_own_weights(
    model: Path, tokenizer: Artifact, tmp_path: Path, form: str,
    pack: Callable[[Path, Mapping[str, bytes]], Path], folder: str,
) -> None:  # fmt: skip
    archive = pack(tmp_path / "upload", files_of(model, folder))
    output, results = import_upload(archive, form, tokenizer, tmp_path / "run")
    expected = load_file(model / "model.safetensors")
    found = load_file(output / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert results["vocab_size"] == VOCABULARY
    assert results["hidden"] == 32
    assert (output / "tokenizer.json").read_bytes() == (
        tokenizer[0] / "tokenizer.json"
    ).read_bytes()


def test_half_precision_weights_are_kept_as_float32(
    model: Path, tokenizer: Artifact, tmp_path: Path
) -> None:
    short = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    short.save_pretrained(tmp_path / "short")
    (tmp_path / "short" / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    archive = zipped(tmp_path / "upload", files_of(tmp_path / "short"))
    output, _ = import_upload(archive, "zip", tokenizer, tmp_path / "run")
    found = load_file(output / "model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert json.loads((output / "config.json").read_text())["dtype"] == "float32"


def test_sharded_weights_become_one_file(model: Path, tokenizer: Artifact, tmp_path: Path) -> None:
    whole = AutoModelForCausalLM.from_pretrained(model)
    whole.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    (tmp_path / "shards" / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    files = files_of(tmp_path / "shards")
    assert sum(name.endswith(".safetensors") for name in files) > 1
    archive = zipped(tmp_path / "upload", files)
    output, _ = import_upload(archive, "zip", tokenizer, tmp_path / "run")
    assert [path.name for path in output.glob("*.safetensors*")] == ["model.safetensors"]


def test_the_hub_is_asked_for_one_commit_and_for_no_pickle(
    model: Path, tokenizer: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        asked.update(name=name, revision=revision, patterns=allow_patterns)
        for file in model.iterdir():
            (local_dir / file.name).write_bytes(file.read_bytes())

    monkeypatch.setattr("shared.data.download.snapshot_download", download)
    parameters = {"hub": "someone/model", "revision": "a" * 40}
    output, results = run_stage(imports.run, parameters, {"tokenizer": tokenizer}, tmp_path / "run")
    assert (asked["name"], asked["revision"]) == ("someone/model", "a" * 40)
    assert not any(pattern.endswith((".bin", ".pt", ".py", "*")) for pattern in asked["patterns"])
    assert results["layers"] == 2
    assert (output / "generation_config.json").exists()


def test_a_model_that_the_hub_does_not_have_is_named(
    tokenizer: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise errors.HFValidationError("bad name")

    monkeypatch.setattr("shared.data.download.snapshot_download", download)
    with pytest.raises(StageError, match="no model some/where at main"):
        run_stage(
            imports.run, {"hub": "some/where", "revision": "main"}, {"tokenizer": tokenizer},
            tmp_path / "run",
        )  # fmt: skip


def test_another_vocabulary_is_refused_and_a_token_named(model: Path, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "upload", files_of(model))
    other = tokenizer_artifact(tmp_path / "other", swap=True)
    with pytest.raises(StageError, match=r"token 'filler4\d' has id 29\d there and 29\d here"):
        import_upload(archive, "zip", other, tmp_path / "run")


def test_an_embedding_too_short_for_the_tokenizer_is_refused(
    model: Path, tokenizer: Artifact, tmp_path: Path
) -> None:
    files = files_of(model)
    weights = load_file(model / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights[name][:290].clone()
    save_file(weights, tmp_path / "short.safetensors", {"format": "pt"})
    files["my-model/model.safetensors"] = (tmp_path / "short.safetensors").read_bytes()
    config = {**json.loads(files["my-model/config.json"]), "vocab_size": 290}
    files["my-model/config.json"] = json.dumps(config).encode()
    archive = zipped(tmp_path / "upload", files)
    with pytest.raises(StageError, match="290 embeddings, but the tokenizer's ids go up to 299"):
        import_upload(archive, "zip", tokenizer, tmp_path / "run")


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: data for key, data in files.items() if not key.endswith(name)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: without(files, "model.safetensors"), "pickled weights are never read"),
        (lambda files: without(files, "tokenizer.json"), "has no tokenizer.json"),
        (lambda files: without(files, "/config.json"), "has no config.json"),
        (lambda files: {**files, "b/config.json": b"{}"}, "2 files config.json"),
        (lambda files: {**files, "../evil.json": b"{}"}, "leads out of the archive"),
        (lambda files: {**files, "/etc/evil.json": b"{}"}, "leads out of the archive"),
        (lambda files: {**files, "C:\\evil.json": b"{}"}, "leads out of the archive"),
        (lambda files: {**files, "my-model/config.json": b"[nonsense"}, "cannot be used"),
        (lambda files: {**files, "my-model/tokenizer.json": b"{}"}, "tokenizer.json is damaged"),
        (lambda files: {**files, "my-model/model.safetensors": b"\x80\x02]q"}, "cannot be used"),
    ],
)
@pytest.mark.parametrize(("form", "pack"), [("zip", zipped), ("tar", tarred)], ids=["zip", "tar"])
def test_bad_archives_are_refused_with_a_sentence(
    model: Path, tokenizer: Artifact, tmp_path: Path, form: str,
    pack: Callable[[Path, Mapping[str, bytes]], Path],
    change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str,
) -> None:  # fmt: skip
    archive = pack(tmp_path / "upload", change(files_of(model)))
    with pytest.raises(StageError, match=message):
        import_upload(archive, form, tokenizer, tmp_path / "run")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_links_are_refused(model: Path, tmp_path: Path, form: str) -> None:
    if form == "zip":
        archive = zipped(tmp_path / "upload", files_of(model))
        with zipfile.ZipFile(archive, "a") as opened:
            link = zipfile.ZipInfo("my-model/extra.json")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            opened.writestr(link, "/etc/passwd")
    else:
        archive = tarred(tmp_path / "upload", files_of(model), "w")
        with tarfile.open(archive, "a") as opened_tar:
            entry = tarfile.TarInfo("my-model/extra.json")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            opened_tar.addfile(entry)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(StageError, match="is a link or a device"):
        unpack(archive, form, target)
    assert not any(target.iterdir())


@pytest.mark.parametrize(("form", "pack"), [("zip", zipped), ("tar", tarred)], ids=["zip", "tar"])
def test_a_truncated_archive_is_refused(
    model: Path, tmp_path: Path, form: str,
    pack: Callable[[Path, Mapping[str, bytes]], Path],
) -> None:  # fmt: skip
    archive = pack(tmp_path / "upload", files_of(model))
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(StageError, match=f"not a whole {form} archive"):
        unpack(archive, form, target)


def test_only_the_files_of_a_model_are_written(model: Path, tmp_path: Path) -> None:
    files = {**files_of(model), "my-model/modeling.py": b"", "my-model/pytorch_model.bin": b"",
             "other/notes.json": b"{}", "my-model/sub/extra.json": b"{}"}  # fmt: skip
    target = tmp_path / "target"
    target.mkdir()
    unpack(zipped(tmp_path / "upload", files), "zip", target)
    assert {path.name for path in target.iterdir()} == {path.name for path in model.iterdir()}


def test_a_json_bomb_is_refused_before_it_is_written(model: Path, tmp_path: Path) -> None:
    files = {**files_of(model), "my-model/big.json": b" " * (65 * 2**20)}
    archive = zipped(tmp_path / "upload", files)
    assert archive.stat().st_size < 2**20
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(StageError, match=r"uploaded model holds big\.json with 68157440 bytes"):
        unpack(archive, "zip", target)
    assert not any(target.iterdir())


def test_an_architecture_that_scales_its_logits_is_refused(model: Path) -> None:
    class Scaled(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner, self.base_model, self.device = inner, inner.base_model, inner.device

        def get_output_embeddings(self) -> Any:
            return self.inner.get_output_embeddings()

        def forward(self, **inputs: Any) -> Any:
            output = self.inner(**inputs)
            output.logits = output.logits * 0.5
            return output

    plain = AutoModelForCausalLM.from_pretrained(model)
    imports._check_output_layer(plain)
    with pytest.raises(ValueError, match="Scaled scales or caps its logits"):
        imports._check_output_layer(Scaled(plain))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_imported_whole_and_can_be_trained_on(
    shape: str, tokenizer: Artifact, tmp_path: Path
) -> None:
    directory = shaped_directory(tmp_path / "source", shape)
    archive = zipped(tmp_path / "upload", files_of(directory))
    output, results = import_upload(archive, "zip", tokenizer, tmp_path / "run")
    theirs = AutoModelForCausalLM.from_pretrained(directory).state_dict()
    found = AutoModelForCausalLM.from_pretrained(output).state_dict()
    assert found.keys() == theirs.keys()
    assert all(torch.equal(found[name], theirs[name]) for name in theirs)
    config = json.loads((directory / "config.json").read_text())
    assert results["model_type"] == config["model_type"]
    assert (results["hidden"], results["layers"], results["context"]) == (32, 2, 64)
    own_output = {"lm_head.weight", "embed_out.weight"} & weight_names(directory)
    assert results["tied_embeddings"] == (not own_output)

    inputs = {"model": (output, results), "tokens/0": tokens_artifact(tmp_path / "tokens")}
    parameters = {"epochs": 3, "max_steps": 20, "batch": 4, "block": BLOCK, "learning_rate": 1e-3,
                  "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.0, "seed": 1,
                  "precision": "float32"}  # fmt: skip
    trained, _ = run_stage(train.run, parameters, inputs, tmp_path / "train")
    losses = [row["loss"] for row in read_jsonl(trained / "curve.jsonl")]
    assert losses[-1] < losses[0]
    assert weight_names(trained) == weight_names(output)
    _, evaluation = run_stage(
        evaluate.run, {}, {**inputs, "model": (trained, {})}, tmp_path / "evaluate"
    )
    assert evaluation["corpora"][0]["loss"] < losses[0]


def weight_names(directory: Path) -> set[str]:
    with safe_open(directory / "model.safetensors", "pt") as file:
        return set(file.keys())


def test_logits_that_are_capped_are_refused(tokenizer: Artifact, tmp_path: Path) -> None:
    directory = shaped_directory(tmp_path / "source", "gemma2")
    files = files_of(directory)
    config = {**json.loads(files["my-model/config.json"]), "final_logit_softcapping": 1.0}
    files["my-model/config.json"] = json.dumps(config).encode()
    archive = zipped(tmp_path / "upload", files)
    with pytest.raises(StageError, match="Gemma2ForCausalLM scales or caps its logits"):
        import_upload(archive, "zip", tokenizer, tmp_path / "run")
