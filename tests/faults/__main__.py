"""`make faults`: rounds of every fault, and a table of how they went.

Exit code 1 when a round did not end as it must; its logs are kept and named.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from tests.faults.cluster import Cluster
from tests.faults.faults import FAULTS, Fault
from tests.faults.rounds import Bits, Round, disturbed, undisturbed
from tests.faults.small_disk import small_disk

out = Console(width=100)


def run(faults: list[Fault], rounds: int, seed: int, directory: Path) -> list[Round]:
    """All rounds over one kind of store, the faults in turn; AssertionError when one fails."""
    local = directory / "disk" if faults[0].store == "local" else None
    done: list[Round] = []
    with small_disk(local):
        cluster = Cluster(directory, local)
        try:
            cluster.start()
            reference: tuple[Bits, float] = undisturbed(cluster)
            out.print(f"undisturbed: {reference[1]:.1f} s, {len(reference[0])} artifacts")
            for number in range(rounds):
                for fault in faults:
                    random = Random(f"{seed}/{fault.name}/{number}")
                    done.append(_round(cluster, fault, random, reference))
        finally:
            cluster.stop()
    return done


def _round(cluster: Cluster, fault: Fault, random: Random, reference: tuple[Bits, float]) -> Round:
    began = time.monotonic()
    one = disturbed(cluster, fault, random, reference)
    took = time.monotonic() - began
    out.print(f"{fault.name}: {one.seconds:.1f} s, went on after {one.delay:.1f} s ({took:.0f} s)")
    return one


def table(done: list[Round], skipped: list[tuple[Fault, str]]) -> Table:
    """Fault, rounds, recovered, longest delay."""
    found = Table("fault", "rounds", "recovered", "longest delay", "longest run")
    for name in dict.fromkeys(one.fault for one in done):
        rows = [one for one in done if one.fault == name]
        delay, longest = max(one.delay for one in rows), max(one.seconds for one in rows)
        count = str(len(rows))
        found.add_row(name, count, count, f"{delay:.1f} s", f"{longest:.1f} s")
    for fault, reason in skipped:
        found.add_row(fault.name, "0", "skipped", reason, "")
    return found


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each fault")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which faults come")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if options.only in fault.name]
    skipped = [(fault, reason) for fault in chosen if (reason := fault.missing())]
    able = [fault for fault in chosen if not fault.missing()]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # processes are stopped then, too
    directory = Path(tempfile.mkdtemp(prefix="lineament-faults-"))
    done: list[Round] = []
    try:
        for store in ("s3", "local"):
            faults = [fault for fault in able if fault.store == store]
            if faults:
                done += run(faults, options.rounds, options.seed, directory / store)
    except AssertionError as error:
        out.print(table(done, skipped))
        out.print(f"FAILED: {error}\nlogs: {directory}", soft_wrap=True, markup=False)
        return 1
    out.print(table(done, skipped))
    out.print(f"{len(done)} rounds, every artifact bit-identical to the undisturbed run")
    if options.keep:
        out.print(f"logs: {directory}", soft_wrap=True)
    else:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
