"""Metrics of the store and of the reconciler, and what training uses of a device."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from shared.store import LocalStore, NotFoundError, Store, StoreError
from shared.telemetry.metrics import MeasuredStore, ProcessMetrics, ReconcilerMetrics
from shared.telemetry.metrics.reconciler import measure_held


class Measured:
    """A measured store in a directory, and its numbers."""

    def __init__(self, directory: Path) -> None:
        self.metrics = ProcessMetrics("test", directory)
        self.store = MeasuredStore(LocalStore(directory / "store"), self.metrics)

    def requests(self, verb: str, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "lineament_store_requests_total", {"verb": verb, "outcome": outcome}
        )

    def moved(self, direction: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "lineament_store_transferred_bytes_total", {"direction": direction}
        )


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    return Measured(tmp_path)


def test_a_measured_store_has_every_verb_of_a_store() -> None:
    verbs = {name for name in vars(Store) if not name.startswith("_")}
    assert verbs <= set(vars(MeasuredStore))


def test_bytes_are_counted_both_ways_whatever_the_verb(measured: Measured, tmp_path: Path) -> None:
    store = measured.store
    (tmp_path / "file").write_bytes(b"four")
    store.put("a", b"12")
    store.put_file("b", tmp_path / "file")
    store.put_stream("c", io.BytesIO(b"12345678"))
    assert store.create("d", b"1")
    assert not store.create("d", b"not written")
    assert measured.moved("written") == 2 + 4 + 8 + 1
    assert store.get("a") + b"".join(store.open("c", 2)) == b"12345678"
    store.download("b", tmp_path / "copy")
    assert measured.moved("read") == 2 + 6 + 4


def test_what_is_absent_or_the_callers_fault_is_no_error_of_the_store(measured: Measured) -> None:
    with pytest.raises(NotFoundError):
        measured.store.get("nothing")
    with pytest.raises(ValueError, match="name"):
        measured.store.put("../up", b"")
    assert measured.requests("get", "absent") == 1
    assert measured.requests("put", "refused") == 1
    assert measured.requests("get", "error") == measured.requests("put", "error") == 0


def test_a_store_that_fails_is_counted(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> bytes:
        raise StoreError("away")

    monkeypatch.setattr(measured.store.inner, "get", away)
    with pytest.raises(StoreError):
        measured.store.get("a")
    assert measured.requests("get", "error") == 1


def test_a_disk_has_a_size_and_free_space(measured: Measured) -> None:
    size = measured.metrics.registry.get_sample_value("lineament_disk_size_bytes")
    free = measured.metrics.registry.get_sample_value("lineament_disk_free_bytes")
    assert size is not None
    assert free is not None
    assert 0 < free <= size


def test_waits_are_counted_when_a_worker_takes_a_stage_and_not_when_it_is_cancelled() -> None:
    metrics = ReconcilerMetrics(["trainer", "sae"])
    metrics.queues({"a": "trainer", "b": "trainer", "c": "trainer"}, {}, set())
    time.sleep(0.05)
    metrics.queues({"a": "trainer"}, {"b": "trainer"}, set())

    def value(name: str, service: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"service": service})

    assert value("lineament_queue_depth", "trainer") == 1
    assert value("lineament_queue_depth", "sae") == 0
    assert value("lineament_stages_leased", "trainer") == 1
    assert value("lineament_queue_wait_seconds_count", "trainer") == 1
    assert (value("lineament_queue_wait_seconds_sum", "trainer") or 0) >= 0.05
    assert (value("lineament_queue_oldest_seconds", "trainer") or 0) >= 0.05
    metrics.queues({}, {}, {"a"})
    assert value("lineament_queue_wait_seconds_count", "trainer") == 2
    assert value("lineament_queue_oldest_seconds", "trainer") == 0


def test_what_the_store_holds_is_measured_by_area(tmp_path: Path) -> None:
    store, metrics = LocalStore(tmp_path), ReconcilerMetrics()
    store.put("stages/a/manifest.json", b"12345")
    store.put("stages/b/manifest.json", b"12345")
    store.put("uploads/x", b"1")
    measure_held(store, metrics)

    def value(name: str, area: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"area": area})

    assert value("lineament_store_held_bytes", "stages") == 10
    assert value("lineament_store_held_objects", "stages") == 2
    assert value("lineament_store_held_bytes", "uploads") == 1
    assert value("lineament_store_held_objects", "experiments") == 0


@pytest.mark.parametrize("tied", [False, True])
def test_flops_of_a_token_are_six_for_each_parameter_in_a_product_and_attention(
    tied: bool,
) -> None:
    pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    from shared.lm.peak import peak_flops, train_flops

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=100, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=tied,
        )
    )  # fmt: skip
    attention, mlp, output = 2 * 16 * 16 + 2 * 16 * 8, 3 * 16 * 24, 100 * 16
    products = 2 * (attention + mlp) + output
    assert train_flops(model, 32) == 6 * products + 12 * 2 * 16 * 32
    assert peak_flops("cpu", "float32") > 1e8
