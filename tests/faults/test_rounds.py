"""A round of every fault; `make faults` runs more of them, and prints the table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from api.embedded import EmbeddedError, valkey_binary
from tests.faults.__main__ import run
from tests.faults.faults import FAULTS

# A round takes about fifteen seconds. Without CI only the fault that the README quotes is tried.
QUICK = ("SIGKILL of a worker", "killed before the manifest", "store down", "disk full")
CHOSEN = [fault for fault in FAULTS if os.environ.get("CI") or fault.name in QUICK]


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("store", ["s3", "local"])
def test_every_fault_ends_with_the_bits_of_an_undisturbed_run(store: str, tmp_path: Path) -> None:
    try:
        valkey_binary()
    except EmbeddedError as error:
        pytest.skip(str(error))
    faults = [fault for fault in CHOSEN if fault.store == store and not fault.missing()]
    if not faults:
        pytest.skip("; ".join(str(fault.missing()) for fault in CHOSEN if fault.store == store))

    done = run(faults, rounds=1, seed=1, directory=tmp_path)

    assert [one.fault for one in done] == [fault.name for fault in faults]
