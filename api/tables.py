"""Tables for a terminal: a plan, and the results of an experiment."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


def _count(value: float | None) -> str:
    """A number with a unit prefix: 1.5 M."""
    if value is None:
        return "?"
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g}"


def plan_table(plan: dict[str, Any]) -> Table:
    """The DAG of a plan, a line per stage; inputs are the numbers of earlier lines."""
    table = Table(title=f"{plan['name']}: {len(plan['stages'])} stages", box=SIMPLE_HEAD)
    table.add_column("#", justify="right")
    table.add_column("stage", min_width=20)
    table.add_column("kind", min_width=8)
    table.add_column("key", no_wrap=True)
    table.add_column("inputs")
    table.add_column("done", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("FLOPs", justify="right", no_wrap=True)
    numbers = {stage["key"]: number for number, stage in enumerate(plan["stages"], 1)}
    for stage in plan["stages"]:
        inputs = sorted({numbers[key] for key in stage["inputs"].values()})
        table.add_row(
            str(numbers[stage["key"]]),
            stage["title"],
            stage["kind"],
            stage["key"][:8],
            _ranges(inputs),
            "yes" if stage["done"] else "no",
            _count(stage["tokens"]),
            _count(stage["flops"]),
        )
    return table


def _ranges(numbers: list[int]) -> str:
    """Numbers in order with runs drawn together: 1-4 7 9."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def result_tables(results: dict[str, Any]) -> list[Table]:
    """Models, dictionaries and edges of results.json."""
    tables = [_models(results)]
    if results.get("dictionaries"):
        tables.append(_dictionaries(results))
    if results.get("edges"):
        tables.append(_edges(results))
    return tables


def _models(results: dict[str, Any]) -> Table:
    table = Table(title="Loss / accuracy on held-out text", title_justify="left")
    table.add_column("model")
    rows = {f"{name} (untrained)": one for name, one in results.get("untrained", {}).items()}
    rows |= results["models"]
    corpora = list(dict.fromkeys(corpus for one in rows.values() for corpus in one["corpora"]))
    for corpus in corpora:
        table.add_column(corpus, justify="right")
    for name, one in rows.items():
        cells = [one["corpora"].get(corpus) for corpus in corpora]
        shown = ["-" if c is None else f"{c['loss']:.3f} / {c['accuracy']:.1%}" for c in cells]
        table.add_row(name, *shown)
    return table


def _dictionaries(results: dict[str, Any]) -> Table:
    table = Table(title="Dictionaries", title_justify="left")
    table.add_column("model")
    for name in ("features", "L0", "explained variance", "loss recovered", "dead"):
        table.add_column(name, justify="right")
    for model, seeds in results["dictionaries"].items():
        for one in seeds:
            table.add_row(
                model,
                str(one["features"]),
                f"{one['l0']:.1f}",
                _share(one["explained_variance"]),
                _share(one["loss_recovered"]),
                _share(one["dead_share"]),
            )
    return table


def _edges(results: dict[str, Any]) -> Table:
    table = Table(title="Features along the lineage", title_justify="left")
    table.add_column("parent -> child")
    names = ("persist", "disappear", "emerge", "share", "ceiling", "null")
    for name in names:
        table.add_column(name, justify="right")
    for edge in results["edges"]:
        counts = [str(edge[name]) for name in names[:3]]
        shares = [_share(edge.get(name)) for name in names[3:]]
        table.add_row(f"{edge['parent']} -> {edge['child']}", *counts, *shares)
    return table
