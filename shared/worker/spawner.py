"""A small process that has the heavy packages loaded and forks one child per stage.

Importing torch and transformers takes four to five seconds; a demo has sixty stages. The spawner
imports them once and runs nothing itself: the only other threads are the idle ones of OpenBLAS and
Arrow, which both know how to fork. Its parent (the supervisor) holds no torch at all.

Protocol, JSON lines: stdin {"start": directory}; stdout {"started": pid}, then
{"ended": pid, "code": .., "signal": .., "cpu_seconds": .., "peak_memory_bytes": ..}.
The spawner kills its children and leaves when stdin closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from shared.stages.entry import stage_modules

WAIT = 0.02  # seconds between two looks at children and requests
PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; nothing elsewhere).

    `parent` is the parent's process id, where the caller has it: a process whose parent died before
    this call exits at once. Orphans are not always adopted by process 1, so only the id shows it.

    A parent outside this container (process id 0) is ignored: for the kernel the parent is a
    thread, and this process would be killed when that thread of the container engine ends.
    """
    if sys.platform == "linux" and os.getppid() != 0:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def preload(package: str, services: list[str]) -> None:
    """Import the modules of all stages, and what they import only when they run (PRELOAD)."""
    for service in services:
        beyond: tuple[str, ...] = importlib.import_module(f"{package}.{service}").PRELOAD
        for name in (*beyond, *stage_modules(package, service)):
            importlib.import_module(name)


def _become_child(directory: Path, package: str, parent: int) -> int:
    """In the forked process: give it its own process group and streams, then run the stage."""
    os.setsid()
    die_with_parent(parent)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(directory / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    from shared.worker.child import main

    return main(directory, package)


def start(directory: Path, package: str) -> int:
    """Fork a stage process for the assignment in `directory`; returns its process id."""
    sys.stdout.flush()
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        code = _become_child(directory, package, parent)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _ended(child: int, status: int, usage: resource.struct_rusage) -> dict[str, Any]:
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux
    return {
        "ended": child,
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_memory_bytes": usage.ru_maxrss * unit,
    }


def serve(requests: IO[bytes], answers: IO[bytes], package: str) -> None:
    """Answer requests until the other side closes its stream. Both streams are unbuffered."""
    children: set[int] = set()

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message).encode() + b"\n")

    open_ = True
    while open_:
        if select.select([requests], [], [], WAIT)[0]:
            line = requests.readline()
            open_ = bool(line)
            if line:
                child = start(Path(json.loads(line)["start"]), package)
                children.add(child)
                answer({"started": child})
        for child in list(children):
            found, status, usage = os.wait4(child, os.WNOHANG)
            if found:
                children.discard(child)
                answer(_ended(child, status, usage))
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


class Spawner:
    """The supervisor's handle on a spawner process; it starts on first use and again if it died."""

    def __init__(self, services: list[str], threads: int, package: str = "services") -> None:
        self._services = services
        self._package = package
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            threads = str(self._threads)
            environment = os.environ | {
                "OMP_NUM_THREADS": threads,
                # Threads that wait for each other spin only shortly: beside other programs a long
                # spin holds the core that the thread waited for would need.
                "GOMP_SPINCOUNT": "2000",
                "MKL_NUM_THREADS": threads,
                "OPENBLAS_NUM_THREADS": threads,
                "RAYON_NUM_THREADS": threads,
                "TOKENIZERS_PARALLELISM": "true",
                "LINEAMENT_THREADS": threads,
                "PYTHONHASHSEED": "0",  # sets of strings iterate alike in every attempt
            }
            self._process = subprocess.Popen(
                [sys.executable, "-m", "shared.worker.spawner", self._package, *self._services],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,  # a buffered line would hide from select
                env=environment,
                start_new_session=True,
            )
        return self._process

    def warm_up(self) -> None:
        """Start the spawner process without waiting until it has loaded the packages."""
        self._running()

    def start(self, directory: Path) -> ChildProcess:
        """Start the stage in `directory`; BrokenPipeError or EOFError when the spawner is gone."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps({"start": str(directory)}).encode() + b"\n")
        return ChildProcess(self._read(process)["started"], process)

    @staticmethod
    def _read(process: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise EOFError("the process that starts stages is gone")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Stop the spawner and its stages."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()


class ChildProcess:
    """One running stage process."""

    def __init__(self, pid: int, spawner: subprocess.Popen[bytes]) -> None:
        self.pid = pid
        self._spawner = spawner
        self._over = False

    def ended(self, seconds: float) -> dict[str, Any] | None:
        """Wait at most `seconds`; the spawner's "ended" message, or None while the stage runs.

        Raises EOFError when the spawner itself died (the stage dies with it).
        """
        assert self._spawner.stdout is not None
        if not select.select([self._spawner.stdout], [], [], seconds)[0]:
            return None
        message = Spawner._read(self._spawner)
        if message.get("ended") != self.pid:
            return None
        self._over = True
        return message

    def kill(self) -> None:
        """Kill the stage and wait for its end; does nothing if it has ended already."""
        if not self._over:
            self.send(signal.SIGKILL)
        with contextlib.suppress(EOFError):
            while not self._over:
                self.ended(1.0)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the stage's whole process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def main() -> None:
    """Entry point of the spawner process: `python -m shared.worker.spawner PACKAGE SERVICE..`."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = os.fdopen(0, "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    os.dup2(2, 1)  # text that a package prints while loading must not look like an answer
    package, *services = sys.argv[1:]
    preload(package, services)
    serve(requests, answers, package)


if __name__ == "__main__":
    main()
