"""The CSV tables hold the numbers of results.json, and the fate of every feature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.report.output import rows_of


def test_tables_hold_the_numbers_of_results_json(output: Path, results: dict[str, Any]) -> None:
    for row, edge in zip(rows_of(output / "csv" / "edges.csv"), results["edges"], strict=True):
        assert float(row["share"]) == edge["share"]
        assert int(row["emerge"]) == edge["emerge"]
        assert float(row["adjusted"]) == edge["adjusted"]
        assert float(row["adjusted_interval_low"]) == edge["adjusted_interval"][0]
    curve = rows_of(output / "csv" / "curve.csv")
    assert len(curve) == 10 * (len(results["edges"]) + len(results["ancestors"]))
    stability = rows_of(output / "csv" / "stability.csv")
    assert [row["recommended"] for row in stability].index("1") == 0
    merge = rows_of(output / "csv" / "merges.csv")[0]
    assert (merge["at_zero"], merge["at_one"]) == ("lua", "stories")
    sweeps = rows_of(output / "csv" / "sweeps.csv")
    assert len(sweeps) == 2 * len(results["sweeps"]["stories-to-lua"]["points"])
    assert float(sweeps[0]["t"]) == 0.0
    assert float(sweeps[-1]["t"]) == 1.0
    models = rows_of(output / "csv" / "models.csv")
    assert len(models) == 3 * (len(results["models"]) + 1)


def test_the_fates_of_features_add_up_to_the_counts_of_the_edge(
    output: Path, results: dict[str, Any]
) -> None:
    for edge in results["edges"]:
        leaving = ("persist", "split", "merge", "disappear")
        arriving = ("persist", "split_child", "merge_child", "emerge")
        for side, other, names in (("parent", "child", leaving), ("child", "parent", arriving)):
            fates = [
                row["status"]
                for row in rows_of(output / "csv" / f"features_{edge[side]}.csv")
                if row["side"] == side and row["other"] == edge[other]
            ]
            for name in names:
                assert fates.count(name.removesuffix("_child")) == edge[name]
            live = len(fates) - fates.count("rare")
            assert live == sum(edge[name] for name in names) == edge[f"alive_{side}"]
