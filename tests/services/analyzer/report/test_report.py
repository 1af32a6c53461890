"""The report stage: its files, which are the same for the same inputs and carry nothing else."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from services.analyzer.report.figures.registry import figures
from services.analyzer.report.stage import run
from tests.support.report.inputs import build
from tests.support.stages import run_stage


def test_page_tables_and_pictures_are_written(output: Path) -> None:
    assert (output / "report.html").stat().st_size > 4_000_000
    assert {path.stem for path in (output / "png").iterdir()} == set(figures())
    tables = {path.name for path in (output / "csv").iterdir()}
    assert {"models.csv", "sweeps.csv", "dictionaries.csv", "edges.csv"} <= tables
    assert {"universal.csv", "labels.csv", "features_base.csv", "features_lua.csv"} <= tables


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    def files(directory: Path) -> dict[str, bytes]:
        (directory / "inputs").mkdir(parents=True)
        parameters, inputs = build(directory / "inputs")
        if directory.name == "two":
            parameters = json.loads(json.dumps(parameters, sort_keys=True))
            inputs = dict(reversed(inputs.items()))
        made = run_stage(run, parameters, inputs, directory)[0]
        return {
            str(path.relative_to(made)): path.read_bytes()
            for path in made.rglob("*")
            if path.is_file()
        }

    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []


def test_pictures_carry_no_date_and_no_program(output: Path) -> None:
    for path in (output / "png").iterdir():
        assert set(chunks(path.read_bytes())) <= {"IHDR", "pHYs", "IDAT", "IEND"}


def chunks(data: bytes) -> Iterator[str]:
    """Types of the chunks of a PNG."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place_ = 8
    while place_ < len(data):
        (length,) = struct.unpack(">I", data[place_ : place_ + 4])
        yield data[place_ + 4 : place_ + 8].decode("ascii")
        place_ += 12 + length
