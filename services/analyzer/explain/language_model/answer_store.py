"""Answers that were paid for, on disk as they arrive: a stage that is killed asks none twice.

They lie in segments answers-NNNN.jsonl of SEGMENT lines each. A full segment never changes: a
checkpoint holds a link to it, and is not stored again. Lines are {"key", "text", "tokens", ..} of
an answer, {"without"} for a parameter of requests that the server refuses, and {"key", "away"} for
a request that was left without an answer when the server went away.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from services.analyzer.explain.language_model.reply import Reply
from shared.stages.stage import Stage

SEGMENT = 64  # lines


class AnswerStore:
    """The answers of all attempts at a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._folder = stage.scratch / "answers"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lines = 0
        self._saved = 0
        self.replies: dict[str, Reply] = {}
        self.tokens = 0  # of all replies
        self.estimated = False  # some of these are estimates
        self.without: set[str] = set()
        self.away: Counter[str] = Counter()
        if stage.resume is not None:
            for path in sorted(stage.resume.glob("answers-*.jsonl")):
                self._take(path)
            self._saved = self._lines

    def _take(self, path: Path) -> None:
        shutil.copyfile(path, self._folder / path.name)
        for line in path.read_text(encoding="ascii").splitlines():
            self._understand(json.loads(line))
            self._lines += 1

    def _understand(self, line: dict[str, Any]) -> None:
        if "without" in line:
            self.without.add(line["without"])
        elif "away" in line:
            self.away[line["key"]] += 1
        else:
            reply = self.replies[line["key"]] = Reply.from_json(line)
            self.tokens += reply.tokens
            self.estimated |= reply.estimated

    def add(self, key: str, reply: Reply) -> None:
        """Store the answer to the request with that key."""
        self._append({"key": key, **reply.to_json()})

    def do_without(self, parameter: str) -> None:
        """Remember that the server refuses requests with this parameter."""
        if parameter not in self.without:
            self._append({"without": parameter})

    def left_alone(self, key: str) -> None:
        """Remember that the server went away while this request waited for an answer."""
        self._append({"key": key, "away": True})

    def _append(self, line: dict[str, Any]) -> None:
        self._understand(line)
        with self._segment(self._lines // SEGMENT).open("a", encoding="ascii") as segment:
            segment.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._lines += 1

    def _segment(self, number: int) -> Path:
        return self._folder / f"answers-{number:04d}.jsonl"

    def save(self) -> None:
        """Hand what is new to the supervisor, as a checkpoint whose step is the lines so far."""
        if self._lines > self._saved:
            self._stage.save_checkpoint(self._lines, self._write)
            self._saved = self._lines

    def _write(self, directory: Path) -> None:
        full, rest = divmod(self._lines, SEGMENT)
        for number in range(full):
            _link(self._segment(number), directory)
        if rest:
            shutil.copy2(self._segment(full), directory)

    @property
    def requests(self) -> int:
        """Requests that were answered."""
        return len(self.replies)


def _link(path: Path, directory: Path) -> None:
    try:
        os.link(path, directory / path.name)
    except OSError:  # a file system without links
        shutil.copyfile(path, directory / path.name)
