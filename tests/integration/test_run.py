"""`lineament run` as a user types it: processes, files, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from api.embedded import EmbeddedError, valkey_binary
from shared.stages.kinds import KINDS as DECLARED
from tests.support.contracts import broken

TINY = Path(__file__).with_name("tiny.yaml")
KINDS = Path(__file__).with_name("kinds.yaml")


@pytest.fixture(scope="module", autouse=True)
def _needs_valkey() -> None:
    try:
        valkey_binary()
    except EmbeddedError as error:
        pytest.skip(str(error))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "api", *map(str, arguments)]


def lineament(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=900)


def processes_of(data: Path) -> list[psutil.Process]:
    """Every process of the installation over `data`, recognised by its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LINEAMENT_DATA") == str(data.resolve()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the tiny experiment has run: data/ and report/."""
    place = tmp_path_factory.mktemp("finished")
    done = lineament("run", TINY, "--data", place / "data", "--report", place / "report")
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.fixture(scope="module")
def results(finished: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((finished / "report" / "results.json").read_text())
    return loaded


def test_a_run_leaves_a_report_and_no_process(finished: Path) -> None:
    assert (finished / "report" / "report.html").stat().st_size > 100_000
    assert list((finished / "report" / "csv").glob("*.csv"))
    assert list((finished / "report" / "png").glob("*.png"))
    assert processes_of(finished / "data") == []


def test_the_counts_of_every_edge_add_up(results: dict[str, Any]) -> None:
    edges = {(edge["parent"], edge["child"]) for edge in results["edges"]}
    assert edges == {("base", "lua"), ("base", "stories"), ("lua", "both"), ("stories", "both")}
    for edge in results["edges"]:
        parent = ("persist", "split", "merge", "disappear")
        child = ("persist", "split_child", "merge_child", "emerge")
        assert sum(edge[name] for name in parent) == edge["alive_parent"]
        assert sum(edge[name] for name in child) == edge["alive_child"]
        assert edge["persist_mutual"] <= edge["persist"] <= edge["persist_any"]
        assert edge["persist_any"] <= edge["alive_parent"]
        assert 0 <= edge["null"] < edge["ceiling"] <= 1


def test_every_edge_has_intervals_and_both_controls(results: dict[str, Any]) -> None:
    for edge in results["edges"]:
        for name in ("interval", "ceiling_interval", "adjusted_interval"):
            low, high = edge[name]
            assert low <= high, name
        assert edge["crossed"] is not None
        assert len(edge["curve"]) == 10
        assert edge["scaling"]["same_basis"] is True
        assert edge["cosine"]["mean"] is not None


def test_the_ends_of_the_sweep_are_the_parents_exactly(results: dict[str, Any]) -> None:
    points = results["sweeps"]["line"]["points"]
    assert [point["t"] for point in points] == [0.0, 0.5, 1.0]
    for corpus in ("stories", "lua"):
        for point, model in ((points[0], "stories"), (points[-1], "lua")):
            for figure in ("loss", "accuracy"):
                measured = results["models"][model]["corpora"][corpus][figure]
                assert point["corpora"][corpus][figure] == measured


def test_every_model_is_evaluated_on_every_corpus_the_untrained_one_too(
    results: dict[str, Any],
) -> None:
    models = results["models"] | {"untrained": results["untrained"]["base"]}
    assert set(models) == {"base", "lua", "stories", "both", "untrained"}
    for one in models.values():
        assert set(one["corpora"]) == {"baby", "lua", "stories"}
    trained, untrained = results["models"]["base"], results["untrained"]["base"]
    assert trained["corpora"]["baby"]["loss"] < untrained["corpora"]["baby"]["loss"]


def test_dictionaries_have_two_seeds_and_their_health(results: dict[str, Any]) -> None:
    for seeds in results["dictionaries"].values():
        assert len(seeds) == 2
        for one in seeds:
            assert {"features", "l0", "explained_variance", "loss_recovered", "dead_share"} <= set(
                one
            )


def test_every_other_kind_of_stage_runs(tmp_path: Path) -> None:
    done = lineament("run", KINDS, "--data", tmp_path / "data", "--report", tmp_path / "report")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "report" / "results.json").read_text())
    assert set(found["models"]) == {"base@5", "base@15", "base", "lua"}
    edges = {(edge["parent"], edge["child"]): edge for edge in found["edges"]}
    assert set(edges) == {("base@5", "base@15"), ("base@15", "base"), ("base", "lua")}
    for edge in edges.values():  # no second seed: the controls are those of warm starts
        assert edge["controls"] == "warm"
        assert edge["ceiling"] is not None
        assert edge["unrelated"] is not None
    manifests = (tmp_path / "data" / "store" / "stages").glob("*/manifest.json")
    kinds = {json.loads(path.read_text())["kind"] for path in manifests}
    assert {"checkpoint", "dictionary_set", "dictionary_member", "crosscoder"} <= kinds
    assert broken_contracts(tmp_path / "data") == []
    assert sum(found["crosscoders"]["both"]["base->lua"]["kinds"].values()) == 128
    assert len(found["stability"]["grid"]["cells"]) == 4


def test_running_a_finished_experiment_again_computes_nothing(finished: Path) -> None:
    store = finished / "data" / "store" / "stages"
    before = sorted(path.name for path in store.glob("*/attempts/*"))
    began = time.monotonic()

    again = lineament("run", TINY, "--data", finished / "data", "--report", finished / "again")

    assert again.returncode == 0
    assert time.monotonic() - began < 30
    assert sorted(path.name for path in store.glob("*/attempts/*")) == before
    first = (finished / "report" / "results.json").read_bytes()
    assert (finished / "again" / "results.json").read_bytes() == first


def test_every_manifest_tells_time_memory_and_log(finished: Path) -> None:
    stages = finished / "data" / "store" / "stages"
    manifests = [json.loads(path.read_text()) for path in stages.glob("*/manifest.json")]
    assert len(manifests) > 40
    for manifest in manifests:
        assert manifest["seconds"] > 0
        assert manifest["peak_memory_bytes"] > 10_000_000
        assert (finished / "data" / "store" / manifest["log"]).exists()


def test_every_artifact_is_what_its_kind_declares(finished: Path) -> None:
    assert broken_contracts(finished / "data") == []


def broken_contracts(data: Path) -> list[str]:
    """Inputs, files and results of all finished stages that their kinds do not declare, or miss."""
    found = []
    for path in (data / "store" / "stages").glob("*/manifest.json"):
        manifest, planned = (
            json.loads(path.with_name(name).read_text()) for name in (path.name, "stage.json")
        )
        kind = DECLARED[manifest["kind"]]
        found.append(broken(kind, planned["inputs"], manifest["files"], manifest["results"]))
    assert found
    return [lines for lines in found if lines]


def test_the_plan_of_a_finished_experiment_is_done(finished: Path) -> None:
    planned = lineament("plan", TINY, "--data", finished / "data", "--json")
    assert all(stage["done"] for stage in json.loads(planned.stdout)["stages"])


def test_ctrl_c_leaves_nothing_running_and_the_next_run_goes_on(
    tmp_path: Path, finished: Path
) -> None:
    data, report = tmp_path / "data", tmp_path / "report"
    arguments = ("run", TINY, "--data", data, "--report", report)
    running = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell starts what runs in its background deaf to Ctrl-C, and the test with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    _until(lambda: len(list((data / "store" / "stages").glob("*/manifest.json"))) >= 9)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)

    assert running.returncode == 130, said
    assert processes_of(data) == []
    before = {path: path.read_bytes() for path in data.glob("store/stages/*/manifest.json")}

    assert lineament(*arguments).returncode == 0
    assert before
    for path, content in before.items():
        assert path.read_bytes() == content, "a finished stage was computed twice"
    undisturbed = (finished / "report" / "results.json").read_bytes()
    assert (report / "results.json").read_bytes() == undisturbed


def test_killing_the_command_takes_every_process_with_it(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent died")
    data = tmp_path / "data"
    running = subprocess.Popen(
        command("run", TINY, "--data", data, "--report", tmp_path / "report"),
        stdout=subprocess.DEVNULL,
    )
    _until(lambda: (data / "server.json").exists())
    running.kill()
    running.wait()
    _until(lambda: processes_of(data) == [])


def test_a_stage_that_fails_for_good_is_exit_code_one_with_its_reason(tmp_path: Path) -> None:
    # Only the stage can know that this little text has no validation block.
    spec = (
        TINY.read_text().replace("block: 64", "block: 4096").replace("context: 64", "context: 4096")
    )
    (tmp_path / "spec.yaml").write_text(spec.replace("max_tokens: 40_000", "max_tokens: 5_000"))

    failed = lineament(
        "run", tmp_path / "spec.yaml", "--data", tmp_path / "data", "--report", tmp_path / "report"
    )

    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "validation" in failed.stderr
    assert "Traceback" not in failed.stderr + failed.stdout
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (("t: 0.5", "t: 1.5"), "models.both.merge.t"),
        (("corpora: [lua]", "corpora: [lau]"), "models.lua.finetune.corpora"),
        (("version: 1", "version: 1\nexplain: {endpoint: x}"), "LINEAMENT_EXPLAIN_URL"),
        (("name: tiny", "name: tiny\nname: twice"), "name"),
    ],
)
def test_bad_input_is_exit_code_two_and_a_sentence(
    tmp_path: Path, change: tuple[str, str], names: str
) -> None:
    (tmp_path / "spec.yaml").write_text(TINY.read_text().replace(*change, 1))

    refused = lineament("run", tmp_path / "spec.yaml", "--data", tmp_path / "data")

    assert refused.returncode == 2
    assert names in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "data").exists()


def test_a_language_model_that_nobody_configured_is_refused_before_anything_is_queued(
    tmp_path: Path,
) -> None:
    wanted = "version: 1\nexplain: {language_model: true}"
    (tmp_path / "spec.yaml").write_text(TINY.read_text().replace("version: 1", wanted, 1))

    refused = lineament("run", tmp_path / "spec.yaml", "--data", tmp_path / "data")

    assert refused.returncode == 2
    assert refused.stderr.startswith("explain.language_model: ")
    assert not list((tmp_path / "data").rglob("experiment.json"))
    assert processes_of(tmp_path / "data") == []


def test_a_missing_spec_is_exit_code_two(tmp_path: Path) -> None:
    refused = lineament("run", tmp_path / "nothing.yaml")
    assert refused.returncode == 2
    assert "nothing.yaml" in refused.stderr


def _until(condition: object, seconds: float = 90) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_two_runs_over_one_directory_share_one_installation(finished: Path) -> None:
    environment = os.environ | {"COLUMNS": "140"}
    arguments = ("run", TINY, "--data", finished / "data", "--report")
    both = [
        subprocess.Popen(
            command(*arguments, finished / f"report-{number}"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        )
        for number in range(2)
    ]
    endings = [one.communicate(timeout=120)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], endings
