"""The quick start of the README in real containers, and a worker killed in the middle of it.

`make compose-test`, or python -m tests.containers.compose_test [--spec FILE] [--keep DIR]. Starts a
Docker engine if none runs, and makes the images that cannot be pulled (build.py). Prints what it
did; a machine that cannot do it is told so in one line, which is no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shared.stages.kinds import SERVICES
from tests.containers.build import prepare
from tests.containers.engine import Engine, NotHere, engine
from tests.containers.files import OWN, ROOT, compose_command
from tests.containers.stack import Stack, report_of, until
from tests.observability.support import expressions, last_values, table

DEMO = ROOT / "examples" / "demo.yaml"
KILLED_AT = 60  # steps of the training after which the worker is killed
STAGE_SECONDS = 600  # until the first training has come so far
BACK_SECONDS = 120  # until a killed container is healthy again
WINDOW = "30s"  # of rates, in place of Grafana's
BEGAN = time.monotonic()


def say(what: str) -> None:
    """A line of the transcript, with the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:7.1f} s  {what}", flush=True)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, default=DEMO)
    parser.add_argument("--keep", type=Path, help="where an engine of our own keeps its images")
    options = parser.parse_args()
    try:
        run(options.spec, options.keep)
    except NotHere as why:
        print(f"skipped: {why}")
    return 0


def run(spec: Path, keep: Path | None = None) -> None:
    """All of it; NotHere where it is impossible, AssertionError or RuntimeError when it fails."""
    compose = compose_command()
    if compose is None:
        raise NotHere("docker-compose is not installed")
    with kept(keep) as directory, engine(directory) as found:
        say(f"engine {found.docker('info', '--format', '{{.ServerVersion}}')}")
        stack = Stack(found, compose, prepare(found, say))
        try:
            stack.down()  # what an interrupted run left
            stack.up()
            say(f"healthy: {', '.join(stack.services())}")
            check_containers(stack)
            began = time.time()
            follow_through(stack, spec)
            check_prometheus(stack)
            if spec == DEMO:  # the stages of a smaller one end before they are asked
                check_panels(stack, began)
        except BaseException:
            print(stack.run("ps", "--all", check=False))
            print(stack.run("logs", "--no-color", "--tail", "40", check=False))
            raise
        finally:
            stack.down()
        check_nothing_left(found)


@contextlib.contextmanager
def kept(keep: Path | None) -> Iterator[Path]:
    """A directory for an engine: the named one, or one that goes afterwards."""
    if keep is not None:
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="lineament-engine-") as directory:
        yield Path(directory)


def check_containers(stack: Stack) -> None:
    """What the compose files promise of the own containers is so in the running ones."""
    for service in OWN:
        assert stack.inspect(service, "{{.HostConfig.ReadonlyRootfs}}") == "true"
        assert stack.python(service, "import os; print(os.getuid())") == "10001"
    program = "import importlib.util as u; print(u.find_spec('torch') is not None)"
    assert [stack.python(name, program) for name in OWN] == [str(name in SERVICES) for name in OWN]
    say("read-only, user 10001, torch in the workers only")


def follow_through(stack: Stack, spec: Path) -> None:
    """Submit, kill the worker that trains, wait for the end, fetch the report."""
    number = stack.command("submit", str(spec))
    say(f"submitted {spec.name}: {number}")
    key = until(lambda: training(stack, number), "the first training", STAGE_SECONDS)
    began = time.monotonic()
    stack.kill("trainer")
    say("SIGKILL to the first process of the trainer's container")
    until(lambda: stack.came_back("trainer"), "the trainer to come back", BACK_SECONDS)
    say(f"healthy again after {time.monotonic() - began:.1f} s")
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report"
        stack.command("run", str(spec), "--report", str(report))
        assert report_of(report)
    assert stack.get(f"/v1/experiments/{number}")["state"] == "complete"
    say("complete, with its report")
    attempts = stack.get(f"/v1/experiments/{number}/stages/{key}")["attempts"]
    assert len(attempts) >= 2, "the killed attempt is remembered"
    assert attempts[0]["ending"] is None or attempts[0]["ending"] != "committed"
    assert attempts[-1]["ending"] == "committed"
    steps = f"{attempts[0]['reached_step']}, then from {attempts[-1]['from_step']}"
    say(f"the killed stage: {len(attempts)} attempts, the first reached step {steps}")


def training(stack: Stack, number: str) -> str:
    """The key of the model that is being trained and has come some way; "" if none is."""
    for row in stack.get(f"/v1/experiments/{number}/stages"):
        done = (row.get("progress") or {}).get("done", 0)
        if row["kind"] == "train" and row["state"] == "running" and done >= KILLED_AT:
            return str(row["key"])
    return ""


def check_prometheus(stack: Stack) -> None:
    """Prometheus reaches every process of ours."""
    if "prometheus" in stack.left_out:
        return
    up = until(lambda: stack.asked('up{job=~"lineament-.*"} == 1'), "Prometheus to have asked", 60)
    jobs = {one["metric"]["job"] for one in up}
    assert jobs == {f"lineament-{name}" for name in OWN}, jobs
    say(f"Prometheus reaches {', '.join(sorted(jobs))}")


def check_panels(stack: Stack, began: float) -> None:
    """Every panel of every dashboard whose series are ours had data while the experiment ran."""
    if "prometheus" in stack.left_out:
        return
    ended = time.time()
    found = [
        (one, last_values(stack.over_time(one.over(WINDOW), began, ended))) for one in expressions()
    ]
    print("\n".join(table(found)))
    empty = [f"{one.board}: {one.panel}" for one, values in found if one.ours and not values]
    assert not empty, f"without data: {', '.join(empty)}"
    say(f"{len([one for one, _ in found if one.ours])} queries of panels have data")


def check_nothing_left(found: Engine) -> None:
    """The stack is gone, with its volumes and networks."""
    label = "label=com.docker.compose.project=lineament-test"
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        assert not found.docker(*kind, "--quiet", "--filter", label), f"{kind[0]} left something"
    say("torn down")


if __name__ == "__main__":
    sys.exit(main())
