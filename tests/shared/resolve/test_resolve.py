"""Resolving: what is pinned, and what is refused once uploads and hub have been looked at."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.data.uploads import UploadInfo
from shared.resolve.hub import Hub, HubDown, HubMissing, HubUnreachable, ProvisionalHub
from shared.resolve.model_files import read_config, vocabulary_size
from shared.resolve.resolve import resolve
from shared.resolve.resolved import UNRESOLVED, ResolvedSpec
from shared.resolve.standard_library import python_stdlib_digest
from shared.spec.errors import SpecError
from tests.support.specs import COMMIT, LANGUAGE_MODEL, UPLOADS, FakeHub, resolved, spec

HUB_CORPUS = ("corpora.code", {"hub": "nilq/small-lua-stack"})
CONFIG = {
    "model_type": "mistral",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-6,
    "vocab_size": 512,
}
IMPORT = ("models.big", {"import": {"hub": "some/model", "corpora": ["tales"]}})


def refused(*changes: tuple[str, Any], hub: Any = None, **uploads: UploadInfo) -> list[str]:
    """What resolve says, a line for each problem."""
    known = UPLOADS | {name.replace("_", "-"): info for name, info in uploads.items()}
    with pytest.raises(SpecError) as caught:
        resolve(spec(*changes), known.get, hub or FakeHub())
    return [str(error) for error in caught.value.errors]


def hub_with(config: dict[str, Any]) -> FakeHub:
    return FakeHub({"some/model/config.json": json.dumps(config).encode()})


# ----------------------------------------------------------------------------------- hub


def test_hub_names_become_commits() -> None:
    tokenizer = {"pretrained": "some/tokenizer", "revision": "main", "vocab_size": 512}
    hub = FakeHub({"some/model/config.json": json.dumps(CONFIG).encode()})
    found = resolve(spec(HUB_CORPUS, IMPORT, ("tokenizer", tokenizer)), UPLOADS.get, hub)
    assert found.spec.corpora["code"].revision == COMMIT
    assert found.spec.tokenizer.revision == COMMIT
    source = found.spec.models["big"].import_
    assert source is not None
    assert source.revision == COMMIT
    assert sorted(hub.asked) == [
        ("dataset", "nilq/small-lua-stack", None),
        ("model", "some/model", None),
        ("model", "some/tokenizer", "main"),
    ]
    assert not found.provisional


def test_a_commit_given_by_the_user_is_not_looked_up() -> None:
    corpus = {"hub": "nilq/small-lua-stack", "revision": "f" * 40}
    hub = FakeHub(down=True)
    found = resolve(spec(("corpora.code", corpus)), UPLOADS.get, hub)
    assert found.spec.corpora["code"].revision == "f" * 40
    assert hub.asked == []


def test_a_hub_that_does_not_answer_is_an_error_that_names_the_way_out() -> None:
    with pytest.raises(HubUnreachable, match=r"corpora\.code\.hub: the hub cannot be reached"):
        resolve(spec(HUB_CORPUS), UPLOADS.get, FakeHub(down=True))
    (problem,) = refused(HUB_CORPUS, hub=FakeHub(down=True))
    assert "`revision` (40 hexadecimal digits)" in problem


def test_a_repository_that_does_not_exist_is_named() -> None:
    (problem,) = refused(("corpora.code", {"hub": "nobody/nothing"}))
    assert problem == "corpora.code.hub: there is no public dataset nobody/nothing on the hub"


def test_without_network_a_plan_is_provisional() -> None:
    found = resolve(spec(HUB_CORPUS, IMPORT), UPLOADS.get, ProvisionalHub())
    assert found.provisional
    assert found.spec.corpora["code"].revision == UNRESOLVED
    assert not resolve(spec(), UPLOADS.get, ProvisionalHub()).provisional


# ------------------------------------------------------------------------------- uploads


def test_uploads_and_builtin_texts_are_pinned_by_content() -> None:
    found = resolved(("corpora.tales", {"builtin": "python-stdlib"}))
    assert found.uploads == UPLOADS
    assert found.builtins["python-stdlib"].digest == python_stdlib_digest()
    assert (found.builtins["python-stdlib"].bytes or 0) > 1_000_000
    assert found.vocab_size == 512


def test_a_resolved_spec_survives_a_round_trip_through_json() -> None:
    found = resolved(HUB_CORPUS)
    assert ResolvedSpec.model_validate(found.model_dump(mode="json")) == found
    assert ResolvedSpec.model_validate_json(found.model_dump_json()) == found


ASKED = ("explain", {"language_model": True})


def test_a_language_model_that_the_server_does_not_have_is_refused() -> None:
    (problem,) = refused(ASKED)
    assert problem.startswith("explain.language_model: this server has none")


def test_the_language_model_is_pinned_where_the_spec_asks_for_it_and_nowhere_else() -> None:
    asked = resolved(ASKED)
    assert asked.language_model == LANGUAGE_MODEL
    assert ResolvedSpec.model_validate_json(asked.model_dump_json()) == asked
    assert resolved(("explain", {})).language_model is None


def test_experiments_without_explanations_keep_the_ids_that_they_had() -> None:
    dumped = resolved().model_dump(mode="json")
    assert set(dumped) == {"spec", "uploads", "builtins", "imported", "vocab_size", "provisional"}
    assert "explain" not in dumped["spec"]
    assert ResolvedSpec.model_validate(dumped).language_model is None


def test_an_unknown_upload_is_named() -> None:
    assert refused(("corpora.code", {"upload": "lost"})) == [
        "corpora.code.upload: there is no upload lost"
    ]


@pytest.mark.parametrize(
    "info",
    [
        UploadInfo("code-file", "0" * 64, "text", 0),
        UploadInfo("code-file", "0" * 64, "jsonl", 300, 0),
    ],
)
def test_an_empty_upload_is_refused(info: UploadInfo) -> None:
    assert refused(code_file=info) == ["corpora.code.upload: code-file is empty"]


def test_an_upload_of_the_wrong_kind_is_refused() -> None:
    tokenizer = UploadInfo("code-file", "0" * 64, "tokenizer", 1000)
    assert refused(code_file=tokenizer) == [
        "corpora.code.upload: code-file is tokenizer; here jsonl, parquet, text, zip, tar fits"
    ]
    imported = {"import": {"upload": "code-file", "corpora": ["tales"]}}
    assert refused(("models.big", imported)) == [
        "models.big.import.upload: code-file is text; here zip, tar fits"
    ]
    assert refused(("tokenizer", {"upload": "code-file"})) == [
        "tokenizer.upload: code-file is text; here tokenizer fits"
    ]


# ---------------------------------------------------------------------------------- sizes


def test_more_tokens_than_the_upload_has_bytes_are_refused() -> None:
    small_file = UploadInfo("code-file", "0" * 64, "text", 50_000)
    (problem,) = refused(("corpora.code.max_tokens", 60_000), code_file=small_file)
    assert problem == (
        "corpora.code.max_tokens: asks for 60,000 tokens, but the corpus has 50,000 bytes at most"
    )
    half = (("corpora.code.max_tokens", 40_000), ("corpora.code.fraction", 0.5))
    assert "25,000 bytes at most" in refused(*half, code_file=small_file)[0]
    packed = UploadInfo("code-file", "0" * 64, "zip", 50_000)
    change = ("corpora.code.max_tokens", 60_000)
    assert resolve(spec(change), (UPLOADS | {"code-file": packed}).get, FakeHub())


def test_more_held_out_tokens_than_the_validation_splits_have_are_refused() -> None:
    (problem,) = refused(("tracking.main.tokens", 200_000))
    assert problem == (
        "tracking.main.tokens: asks for 200,000 held-out tokens, but the validation splits of "
        "english, code have 133,333 bytes at most"
    )
    found = refused(("dictionaries.mlp.evaluate_tokens", 70_000))
    assert found[0].startswith("dictionaries.mlp.evaluate_tokens: asks for 70,000 held-out tokens")
    unknown = (HUB_CORPUS, ("tracking.main.tokens", 10**9))
    assert resolved(*unknown).spec.tracking["main"].tokens == 10**9


# ------------------------------------------------------------------------ imported models


def test_an_imported_model_of_another_shape_is_not_merged() -> None:
    merge = ("models.merged.merge.at_one", "big")
    config = CONFIG | {"hidden_size": 64}
    assert refused(IMPORT, merge, hub=hub_with(config)) == [
        "models.merged.merge: left and big have different shapes (hidden 32 against 64)"
    ]
    found = resolve(spec(IMPORT, merge), UPLOADS.get, hub_with(CONFIG))
    assert found.imported["big"].vocab_size == 512


def test_an_imported_model_with_another_vocabulary_is_refused() -> None:
    assert refused(IMPORT, hub=hub_with(CONFIG | {"vocab_size": 32_000})) == [
        "models.big.import: has a vocabulary of 32000, the tokenizer has 512"
    ]


def test_an_imported_model_that_is_too_small_for_the_spec_is_refused() -> None:
    shallow = hub_with(CONFIG | {"num_hidden_layers": 1})
    assert refused(IMPORT, hub=shallow) == [
        "dictionaries.mlp.layer: 1 is too high, big has the layers 0 to 0"
    ]
    child = ("models.child", {"finetune": {"parent": "big", "corpora": ["code"]}})
    short = hub_with(CONFIG | {"max_position_embeddings": 24})
    assert refused(IMPORT, child, hub=short) == [
        "models.child.finetune.parent: has a context of 24 tokens, shorter than the block of 32"
    ]


def test_an_imported_archive_is_looked_into() -> None:
    archive = UploadInfo("weights", "0" * 64, "zip", 1_000_000)
    change = ("models.big", {"import": {"upload": "weights", "corpora": ["tales"]}})
    known = (UPLOADS | {"weights": archive}).get
    data: dict[str, bytes | None] = {"config.json": json.dumps(CONFIG).encode()}
    found = resolve(spec(change), known, FakeHub(), lambda _info, name: data[name])
    assert found.imported["big"].architecture.hidden == 32
    for content, sentence in [(None, "weights has no config.json"), (b"{", "is not JSON")]:
        data["config.json"] = content
        with pytest.raises(SpecError, match=sentence):
            resolve(spec(change), known, FakeHub(), lambda _info, name: data[name])


def test_the_vocabulary_of_a_tokenizer_from_outside_is_compared() -> None:
    content = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}}, "added_tokens": [{"id": 2}]}
    hub = FakeHub({"some/tokenizer/tokenizer.json": json.dumps(content).encode()})
    tokenizer = {"pretrained": "some/tokenizer"}
    assert resolve(spec(("tokenizer", tokenizer)), UPLOADS.get, hub).vocab_size == 3
    assert refused(("tokenizer", tokenizer | {"vocab_size": 5}), hub=hub) == [
        "tokenizer.vocab_size: the tokenizer has 3 tokens, not 5"
    ]
    shape = ("models.base.pretrain.architecture.vocab_size", 4)
    assert refused(("tokenizer", tokenizer), shape, hub=hub) == [
        "models.base.pretrain.architecture.vocab_size: must equal the tokenizer's (3), not 4"
    ]


def test_configurations_of_other_architectures_are_understood() -> None:
    gpt2 = {"model_type": "gpt2", "n_embd": 48, "n_head": 4, "n_layer": 3, "n_positions": 128}
    found = read_config(json.dumps(gpt2 | {"vocab_size": 100, "n_inner": None}).encode())
    assert found is not None
    shape = found.architecture
    assert (shape.mlp, shape.kv_heads, shape.context, shape.tied_embeddings) == (192, 4, 128, True)
    newer = {**CONFIG, "rope_parameters": {"rope_theta": 500.0}}
    del newer["rope_theta"]
    found = read_config(json.dumps(newer).encode())
    assert found is not None
    assert found.architecture.rope_theta == 500
    assert read_config(b'{"model_type": "vit", "hidden_size": 12}') is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_broken_files_of_a_model_are_value_errors(data: bytes) -> None:
    with pytest.raises(ValueError, match="is not"):
        read_config(data)
    with pytest.raises(ValueError, match="is not"):
        vocabulary_size(data)


def test_vocabularies_of_all_kinds_of_tokenizers_are_counted() -> None:
    assert vocabulary_size(b'{"model": {"vocab": [["a", 0.5], ["b", 0.1]]}}') == 2
    assert vocabulary_size(b'{"model": {"vocab": {"a": 0, "b": 7}}}') == 8
    assert vocabulary_size(b'{"model": {"vocab": {}}, "added_tokens": [{"id": 3}, 4]}') == 4
    assert vocabulary_size(b'{"model": null}') is None


# --------------------------------------------------------------- the hub's own protocol


class FakeHubServer(BaseHTTPRequestHandler):
    """Answers as the hub does for one data set, one model, and everything that is not there."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.startswith("/api/datasets/some/data"):
            missing = "revision" in self.path and "/main" not in self.path
            code = "RevisionNotFound" if missing else None
            self._answer(json.dumps({"id": "some/data", "sha": COMMIT}).encode(), code)
        elif self.path.startswith("/api/models/some/model"):
            self._answer(json.dumps({"id": "some/model", "sha": COMMIT}).encode())
        elif self.path == f"/some/model/resolve/{COMMIT}/config.json":
            self._answer(b'{"model_type": "mistral"}')
        elif self.path.startswith("/some/model/resolve/"):
            self._answer(b"", "EntryNotFound")
        else:
            self._answer(b"", "RepoNotFound")

    def _answer(self, body: bytes, error: str | None = None) -> None:
        self.send_response(404 if error else 200)
        if error:
            self.send_header("X-Error-Code", error)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests are quiet."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHubServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Hub(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_for_commits(hub: Hub) -> None:
    assert hub.commit("dataset", "some/data", None) == COMMIT
    assert hub.commit("dataset", "some/data", "main") == COMMIT
    with pytest.raises(HubMissing, match="some/data has no revision v9"):
        hub.commit("dataset", "some/data", "v9")
    with pytest.raises(HubMissing, match="there is no public data set other/data on the hub"):
        hub.commit("dataset", "other/data", None)


def test_small_files_come_from_the_hub(hub: Hub) -> None:
    assert hub.file("some/model", COMMIT, "config.json") == b'{"model_type": "mistral"}'
    with pytest.raises(HubMissing, match=r"some/model has no tokenizer\.json"):
        hub.file("some/model", COMMIT, "tokenizer.json")


def test_a_hub_that_nobody_answers_for_is_down() -> None:
    silent = Hub("http://127.0.0.1:9")
    with pytest.raises(HubDown):
        silent.commit("model", "some/model", None)
    assert silent.file("some/model", COMMIT, "config.json") is None
