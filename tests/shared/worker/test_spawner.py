"""Processes that end with the one that started them, on a plain machine and in a container."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the signal")

# What the kernel will send when the parent dies: prctl(PR_GET_PDEATHSIG).
ASKED = """
import ctypes, os, sys
from shared.worker.spawner import die_with_parent
if len(sys.argv) > 1:
    die_with_parent(int(sys.argv[1]))
else:
    die_with_parent()
number = ctypes.c_int(-1)
ctypes.CDLL(None).prctl(2, ctypes.byref(number))
print(os.getpid(), os.getppid(), number.value)
"""
PARENT = """
import os, subprocess, sys, time
from functools import partial
from shared.worker.spawner import die_with_parent
code = "import time; time.sleep(60)"
child = subprocess.Popen(
    [sys.executable, "-c", code], preexec_fn=partial(die_with_parent, os.getpid())
)
print(child.pid, flush=True)
time.sleep(60)
"""
REPOSITORY = Path(__file__).parents[3]


def asked(*before: str, arguments: tuple[str, ...] = ()) -> list[int]:
    """Process id, parent's id and the signal asked for, of a process started by a command."""
    done = subprocess.run(
        [*before, sys.executable, "-c", ASKED, *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if before and done.returncode:
        pytest.skip(f"no process namespaces here: {done.stderr.strip()[-200:]}")
    return [int(word) for word in done.stdout.split()]


@pytest.fixture
def namespace() -> tuple[str, ...]:
    """A command that starts a program as the first process of a container, or under a first one."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    rights = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *rights, "--pid", "--fork", "--mount-proc")


def test_an_ordinary_process_asks_to_be_killed_with_its_parent() -> None:
    assert asked()[2] == signal.SIGKILL


def test_the_first_process_of_a_container_does_not_ask(namespace: tuple[str, ...]) -> None:
    assert asked(*namespace) == [1, 0, 0]


def test_a_process_under_the_init_of_a_container_lives_and_asks(namespace: tuple[str, ...]) -> None:
    # A shell that waits stands for tini: its id is 1, and it has not died.
    number, parent, sent = asked(*namespace, "sh", "-c", '"$@"; exit $?', "sh")
    assert (parent, sent) == (1, signal.SIGKILL)
    assert number > 1


def test_a_process_whose_parent_was_gone_before_it_could_ask_leaves_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(os.getpid() + 1)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")


def test_a_process_whose_parent_is_the_one_it_knows_stays() -> None:
    assert asked(arguments=(str(os.getpid()),))[1:] == [os.getpid(), signal.SIGKILL]


def test_a_child_is_killed_when_its_parent_is(killed: list[int]) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    killed.append(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while _alive(child):
        assert time.monotonic() < end, "it outlived its parent"
        time.sleep(0.02)


@pytest.fixture
def killed() -> Iterator[list[int]]:
    """Processes that go at the end, whatever happened."""
    numbers: list[int] = []
    yield numbers
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _alive(number: int) -> bool:
    """Whether it runs; one that has died and that nobody waited for does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        stat = Path(f"/proc/{number}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    return False
