"""Dictionaries from outside: only whole ones that fit the model at that place get in."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.sae import import_dictionary as imports
from shared.lm.dictionary import CONFIG, WEIGHTS, Dictionary, load_dictionary
from shared.stages.stage import StageError
from tests.support.language_models import MLP, shaped_directory
from tests.support.stages import run_stage

F = 24
DIGEST = "d" * 64
Inputs = dict[str, tuple[Path, dict[str, Any]]]
Result = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return {"model": (shaped_directory(tmp_path_factory.mktemp("model"), "gpt2"), {})}


def dictionary(width: int = 32, hook: str = "resid_post", layer: int = 1) -> Dictionary:
    draw = torch.Generator().manual_seed(0)
    return Dictionary(
        encoder_DF=torch.randn(width, F, generator=draw),
        encoder_bias_F=torch.randn(F, generator=draw),
        decoder_FD=torch.randn(F, width, generator=draw),
        decoder_bias_D=torch.randn(width, generator=draw),
        hook=hook,
        layer=layer,
    )


def saved(directory: Path, coder: Dictionary) -> Path:
    directory.mkdir(parents=True)
    coder.save(directory)
    return directory


def zipped(directory: Path, archive: Path, folder: str = "my-dictionary/") -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(directory.iterdir()):
            opened.write(file, folder + file.name)
    return archive


def upload(
    source: Path, model: Inputs, directory: Path, hook: str = "resid_post", layer: int = 1
) -> Result:
    directory.mkdir(exist_ok=True)
    archive = zipped(source, directory / "upload.zip")
    parameters = {"upload": DIGEST, "format": "zip", "hook": hook, "layer": layer}
    return run_stage(imports.run, parameters, model, directory / "run", uploads={DIGEST: archive})


def inputs(width: int = 32) -> Tensor:
    return torch.randn(20, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["relu", "jumprelu", "topk"])
def test_an_uploaded_dictionary_encodes_as_it_did(kind: str, model: Inputs, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "relu": {}, "jumprelu": {"threshold_F": torch.linspace(0, 3, F)}, "topk": {"k": 4}
    }[kind]  # fmt: skip
    coder = replace(dictionary(), **changes)
    output, results = upload(saved(tmp_path / "source", coder), model, tmp_path)
    assert sorted(path.name for path in output.iterdir()) == [CONFIG, WEIGHTS]
    torch.testing.assert_close(load_dictionary(output).encode(inputs()), coder.encode(inputs()))
    assert results == {"features": F, "width": 32, "variant": kind}


def test_the_users_place_is_written_where_the_files_name_none(
    model: Inputs, tmp_path: Path
) -> None:
    source = saved(tmp_path / "source", dictionary(MLP, "mlp_post", 0))
    config = json.loads((source / CONFIG).read_text())
    for name in ("", "transformer.h.0.mlp.act"):
        config["metadata"] = {"hook_name": name}
        (source / CONFIG).write_text(json.dumps(config))
        output, _ = upload(source, model, tmp_path / f"try-{bool(name)}", "mlp_post", 0)
        read = load_dictionary(output)
        assert (read.hook, read.layer) == ("mlp_post", 0)


@pytest.mark.parametrize(
    ("hook", "layer", "message"),
    [("resid_pre", 1, "trained at resid_post of layer 1, not at resid_pre of layer 1"),
     ("resid_post", 0, "trained at resid_post of layer 1, not at resid_post of layer 0"),
     ("resid_post", 7, "layer 7 is out of range: the model has 2 layers"),
     ("mlp_post", 1, f"trained at width 32, the model's activations have width {MLP}")],
)  # fmt: skip
def test_a_dictionary_of_another_place_is_refused(
    hook: str, layer: int, message: str, model: Inputs, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=message):
        upload(saved(tmp_path / "source", dictionary()), model, tmp_path, hook, layer)


def change_config(**changes: Any) -> Callable[[Path], None]:
    def change(source: Path) -> None:
        config = json.loads((source / CONFIG).read_text())
        (source / CONFIG).write_text(json.dumps({**config, **changes}))

    return change


def poison(source: Path) -> None:
    tensors = load_file(source / WEIGHTS)
    tensors["W_enc"][0, 0] = float("nan")
    save_file(tensors, source / WEIGHTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [(change_config(architecture="transcoder"), "architecture is 'transcoder'"),
     (change_config(metadata={"hook_name": "blocks.1.attn.hook_z"}), "attn.hook_z, which is none"),
     (change_config(normalize_activations="layer_norm"), "cannot be folded"),
     (lambda source: (source / WEIGHTS).unlink(), "cannot be used: the imported directory holds"),
     (lambda source: (source / WEIGHTS).write_bytes(b"\x80\x02]q."), "holds no dictionary"),
     (lambda source: (source / CONFIG).write_text("[]"), "cfg.json is not an object"),
     (lambda source: (source / CONFIG).unlink(), "uploaded dictionary has no cfg.json"),
     (poison, "weights that are not finite")],
)  # fmt: skip
def test_bad_files_are_refused_with_a_sentence(
    change: Callable[[Path], None], message: str, model: Inputs, tmp_path: Path
) -> None:
    source = saved(tmp_path / "source", dictionary())
    change(source)
    with pytest.raises(StageError, match=message) as caught:
        upload(source, model, tmp_path)
    assert str(tmp_path) not in str(caught.value)


# ----------------------------------------------------------------------------------- hub


def hub_with(repository: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub whose only repository has the files of a directory."""

    def download(name: str, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        asked.update(name=name, revision=revision, patterns=allow_patterns)
        for file in repository.rglob("*"):
            path = file.relative_to(repository)
            if file.is_file() and any(fnmatch(str(path), one) for one in allow_patterns):
                (local_dir / path).parent.mkdir(parents=True, exist_ok=True)
                (local_dir / path).write_bytes(file.read_bytes())

    monkeypatch.setattr("shared.data.download.snapshot_download", download)


def from_hub(path: str, model: Inputs, directory: Path) -> Result:
    parameters = {"hub": "someone/saes", "revision": "a" * 40, "path": path,
                  "hook": "resid_post", "layer": 1}  # fmt: skip
    return run_stage(imports.run, parameters, model, directory / "run")


@pytest.mark.parametrize("path", ["", "layer_1/width_24", "odd [name]*"])
def test_one_directory_of_a_repository_is_downloaded_at_one_commit(
    path: str, model: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, asked = tmp_path / "repository", dict[str, Any]()
    saved(repository / path, dictionary())
    saved(repository / "other", dictionary(7))
    (repository / path / "sae_weights.pt").write_bytes(b"pickle")
    hub_with(repository, asked, monkeypatch)
    output, results = from_hub(path, model, tmp_path)
    assert torch.equal(load_dictionary(output).encoder_DF, dictionary().encoder_DF)
    assert results["features"] == F
    assert (asked["name"], asked["revision"]) == ("someone/saes", "a" * 40)
    assert not any(pattern.endswith((".pt", ".bin", "*")) for pattern in asked["patterns"])


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "someone/saes has no nowhere/sae_weights.safetensors"),
     ("../out", "path: '../out' leads out of the repository"),
     ("/etc", "path: '/etc' leads out of the repository")],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_named(
    path: str, message: str, model: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "repository", dictionary())
    hub_with(tmp_path / "repository", {}, monkeypatch)
    with pytest.raises(StageError, match=message):
        from_hub(path, model, tmp_path)


def test_a_repository_that_the_hub_does_not_have_is_named(
    model: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise errors.HFValidationError("bad name")

    monkeypatch.setattr("shared.data.download.snapshot_download", download)
    with pytest.raises(StageError, match="the hub has no dictionary someone/saes at aaaa"):
        from_hub("", model, tmp_path)


def test_neither_a_hub_nor_an_upload_is_refused(model: Inputs, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="neither by hub and revision nor by upload"):
        run_stage(imports.run, {"hook": "resid_pre", "layer": 0}, model, tmp_path)
