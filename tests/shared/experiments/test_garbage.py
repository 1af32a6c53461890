"""What `lineament gc` finds, and what it must never touch."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from api.cli.main import app
from shared.experiments.experiments import Experiments
from shared.experiments.garbage import LEAST_AGE, Collector, Garbage
from shared.plan import Plan, PlannedStage
from shared.records.artifacts import Artifacts, Manifest
from shared.records.checkpoints import Checkpoints
from shared.store import LocalStore

DAY = 86_400.0
USED, UNUSED = "a" * 64, "b" * 64


def planned(key: str, uploads: tuple[str, ...] = ()) -> PlannedStage:
    return PlannedStage(
        key=key, kind="train", service="trainer", version=1, parameters={}, inputs={}, title="t",
        uploads=uploads,
    )  # fmt: skip


def finish(store: LocalStore, key: str, attempt: str) -> None:
    store.put(f"stages/{key}/files/{attempt}/weights", b"x" * 100)
    manifest = Manifest(
        key=key, kind="train", version=1, parameters={}, inputs={}, files={}, results={},
        attempt=attempt, started="", finished="", seconds=0, cpu_seconds=0, peak_memory_bytes=0,
        host="", hardware={}, libraries={}, log="",
    )  # fmt: skip
    Artifacts(store).commit(manifest)


def checkpoint(store: LocalStore, key: str, attempt: str, directory: Path) -> None:
    directory.mkdir()
    (directory / "state").write_bytes(b"s" * 10)
    checkpoints = Checkpoints(store)
    checkpoints.save(key, 1, checkpoints.delivery(key, attempt, 1, directory))


def age_everything(root: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    Experiments(store).submit("one", {"x": 1}, Plan(name="one", stages=(planned(USED, ("d1",)),)))
    return store


def found(store: LocalStore, age: float = DAY) -> dict[str, list[Garbage]]:
    groups: dict[str, list[Garbage]] = {}
    for one in Collector(store, age).find():
        groups.setdefault(one.kind, []).append(one)
    return groups


def test_attempts_without_a_manifest_go_and_the_one_that_counts_stays(
    store: LocalStore, tmp_path: Path
) -> None:
    finish(store, USED, "winner")
    store.put(f"stages/{USED}/files/loser/weights", b"x" * 50)
    age_everything(tmp_path, 2 * DAY)

    groups = found(store)
    assert [one.names for one in groups["attempt"]] == [(f"stages/{USED}/files/loser/weights",)]
    assert set(groups) == {"attempt"}


def test_checkpoints_of_finished_stages_go_and_the_one_to_resume_from_stays(
    store: LocalStore, tmp_path: Path
) -> None:
    checkpoint(store, USED, "try", tmp_path / "c")
    store.put(f"stages/{USED}/checkpoints/old-3/state", b"x")
    age_everything(tmp_path, 2 * DAY)
    assert [one.title for one in found(store)["checkpoint"]] == [f"checkpoint old-3 of {USED[:12]}"]

    finish(store, USED, "winner")
    age_everything(tmp_path, 2 * DAY)
    names = {name for one in found(store)["checkpoint"] for name in one.names}
    assert names == {
        f"stages/{USED}/checkpoints/old-3/state",
        f"stages/{USED}/checkpoints/try-1/state",
        f"stages/{USED}/checkpoint.json",
    }


def test_artifacts_that_no_experiment_uses_go_with_the_manifest_first(
    store: LocalStore, tmp_path: Path
) -> None:
    finish(store, USED, "winner")
    finish(store, UNUSED, "other")
    age_everything(tmp_path, 2 * DAY)

    (artifact,) = found(store)["artifact"]
    assert artifact.names[0] == f"stages/{UNUSED}/manifest.json"
    Collector(store, DAY).remove([artifact])
    assert Artifacts(store).exists(USED)
    assert not list(store.list(f"stages/{UNUSED}/"))


def test_nothing_young_goes(store: LocalStore, tmp_path: Path) -> None:
    finish(store, UNUSED, "other")
    store.put("blobs/d9", b"x")
    age_everything(tmp_path, DAY / 2)
    assert found(store) == {}


def test_uploads_stay_while_a_name_or_an_experiment_needs_them(
    store: LocalStore, tmp_path: Path
) -> None:
    for digest in ("d1", "d2", "d3"):
        store.put(f"blobs/{digest}", b"x")
    store.put("uploads/named.json", b'{"digest": "d2"}')
    age_everything(tmp_path, 2 * DAY)
    assert [one.names for one in found(store)["upload"]] == [("blobs/d3",)]


def test_what_an_experiment_came_to_need_in_the_meantime_is_not_removed(
    store: LocalStore, tmp_path: Path
) -> None:
    finish(store, UNUSED, "other")
    age_everything(tmp_path, 2 * DAY)
    garbage = list(Collector(store, DAY).find())
    Experiments(store).submit("two", {"x": 2}, Plan(name="two", stages=(planned(UNUSED),)))

    assert Collector(store, DAY).remove(garbage) == 0
    assert Artifacts(store).exists(UNUSED)


def test_a_reader_notices_that_a_finished_stage_was_removed(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.experiments.survey.ASK_COLLECTED", 0.0)
    finish(store, USED, "winner")
    experiments = Experiments(store)
    (one,) = experiments.listed()
    outline = experiments.card(one.id).outline
    assert experiments.survey.look([outline])[0] == {USED}
    store.delete(f"experiments/{one.id}/experiment.json")
    age_everything(tmp_path, 2 * DAY)

    Collector(store, DAY).remove(list(Collector(store, DAY).find()))
    assert experiments.survey.look([outline])[0] == set()


def test_an_age_that_is_not_safe_is_refused(store: LocalStore) -> None:
    with pytest.raises(ValueError, match="age: at least 3600 seconds"):
        Collector(store, LEAST_AGE - 1)


def test_the_command_lists_and_removes_only_when_it_is_told_to(
    store: LocalStore, tmp_path: Path
) -> None:
    finish(store, UNUSED, "other")
    age_everything(tmp_path, 10 * DAY)

    def gc(*words: str) -> Result:
        return CliRunner().invoke(app, ["gc", "--data", str(tmp_path), *words])

    listed = gc("--all")
    assert listed.exit_code == 0
    assert f"stage {UNUSED[:12]}" in listed.output
    assert Artifacts(store).exists(UNUSED)
    assert gc("--delete", "--age", "11d").exit_code == 0
    assert Artifacts(store).exists(UNUSED), "too young"
    assert "removed" in gc("--delete").output
    assert not Artifacts(store).exists(UNUSED)


@pytest.mark.parametrize("age", ["7", "d", "-3d", "5m", "1h2d"])
def test_an_age_that_cannot_be_read_is_a_sentence(tmp_path: Path, age: str) -> None:
    refused = CliRunner().invoke(app, ["gc", "--data", str(tmp_path), f"--age={age}"])
    assert refused.exit_code == 2
    assert "--age: must be a number followed by h, d or w" in refused.output


def test_parts_that_a_killed_writer_left_go_when_the_store_is_opened_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    young, old = (tmp_path / "store" / ".incoming" / name for name in ("young", "old"))
    young.write_bytes(b"x")
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 2 * DAY, time.time() - 2 * DAY))
    LocalStore(tmp_path / "store")
    assert young.exists()
    assert not old.exists()
    assert store.stat("young") is None
