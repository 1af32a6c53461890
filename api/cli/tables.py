"""Tables for a terminal: a plan, and the results of an experiment."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from shared.lineage.explanations.methods import METHODS


def _count(value: float | None) -> str:
    """A number with a unit prefix: 1.5 M."""
    if value is None:
        return "?"
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g}"


def plan_table(plan: dict[str, Any]) -> Table:
    """The DAG of a plan, one row per stage; inputs are the numbers of earlier rows."""
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


def experiments_table(experiments: list[dict[str, Any]]) -> Table:
    """Experiments, one row each."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("experiment", no_wrap=True)
    table.add_column("state")
    table.add_column("stages", justify="right")
    table.add_column("submitted", no_wrap=True)
    table.add_column("owner")
    for experiment in experiments:
        done = f"{experiment['counts']['done']} of {experiment['stages']}"
        submitted = f"{experiment['submitted'][:19].replace('T', ' ')} UTC"
        table.add_row(experiment["id"], experiment["state"], done, submitted, experiment["owner"])
    return table


def stages_table(experiment: dict[str, Any], stages: list[dict[str, Any]]) -> Table:
    """The stages of an experiment: how long each took, how far it is, or why it failed."""
    done = f"{experiment['counts']['done']} of {experiment['stages']} stages done"
    table = Table(title=f"{experiment['id']}: {experiment['state']}, {done}", box=SIMPLE_HEAD)
    table.add_column("stage", min_width=20)
    table.add_column("kind")
    table.add_column("key", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("")
    for stage in stages:
        seconds = "" if stage["seconds"] is None else f"{stage['seconds']:.1f}"
        note = escape(stage["reason"] or _progress(stage["progress"]))
        key = stage["key"][:8]
        table.add_row(stage["title"], stage["kind"], key, stage["state"], seconds, note)
    return table


def _progress(progress: dict[str, Any] | None) -> str:
    if not progress or not progress.get("total"):
        return ""
    return f"{progress['done']} of {progress['total']} {progress.get('unit', '')}".strip()


def plan_totals(totals: dict[str, Any]) -> str:
    """A plan in one line: what exists, and what the rest will cost as far as that is known."""
    parts = [f"{totals['done']} of {totals['stages']} stages exist"]
    for name, unit in (("tokens", "tokens"), ("flops", "FLOPs"), ("bytes", "bytes")):
        amount = totals[name]
        unknown = f" ({amount['unknown']} stages unknown)" if amount["unknown"] else ""
        parts.append(f"{_count(amount['to_do'])} {unit} to go{unknown}")
    return "; ".join(parts)


def _ranges(numbers: list[int]) -> str:
    """Sorted numbers with consecutive ones joined: 1-4 7 9."""
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
    """Tables of the models, dictionaries, edges and explanations in results.json."""
    tables = [_models(results)]
    if results.get("dictionaries"):
        tables.append(_dictionaries(results))
    if results.get("edges"):
        tables.append(_edges(results))
    if results.get("explanation_scores"):
        tables.append(_explanations(results))
    return tables


def _models(results: dict[str, Any]) -> Table:
    table = Table(title="Loss / accuracy on held-out text", title_justify="left")
    table.add_column("model")
    models = {f"{name} (untrained)": model for name, model in results.get("untrained", {}).items()}
    models |= results["models"]
    corpora = list(dict.fromkeys(corpus for each in models.values() for corpus in each["corpora"]))
    for corpus in corpora:
        table.add_column(corpus, justify="right")
    for name, model in models.items():
        cells = [model["corpora"].get(corpus) for corpus in corpora]
        shown = ["-" if c is None else f"{c['loss']:.3f} / {c['accuracy']:.1%}" for c in cells]
        table.add_row(name, *shown)
    return table


def _dictionaries(results: dict[str, Any]) -> Table:
    table = Table(title="Dictionaries", title_justify="left")
    table.add_column("model")
    for name in ("features", "L0", "explained variance", "loss recovered", "dead"):
        table.add_column(name, justify="right")
    for model, seeds in results["dictionaries"].items():
        for dictionary in seeds:
            table.add_row(
                model,
                str(dictionary["features"]),
                f"{dictionary['l0']:.1f}",
                _share(dictionary["explained_variance"]),
                _share(dictionary["loss_recovered"]),
                _share(dictionary["dead_share"]),
            )
    return table


def _edges(results: dict[str, Any]) -> Table:
    table = Table(title="Features along the lineage", title_justify="left")
    table.add_column("parent -> child")
    counts = ("persist", "split", "merge", "disappear", "emerge")
    shares = ("share", "ceiling", "null", "adjusted")
    for name in (*counts, *shares):
        table.add_column(name, justify="right")
    for edge in results["edges"]:
        numbers = ["-" if edge.get(name) is None else str(edge[name]) for name in counts]
        shown = [_with_interval(edge, name) for name in shares]
        table.add_row(f"{edge['parent']} -> {edge['child']}", *numbers, *shown)
    return table


def _explanations(results: dict[str, Any]) -> Table:
    table = Table(
        title="How well explanations predict features on other text", title_justify="left"
    )
    table.add_column("model")
    table.add_column("explained by")
    for name in ("features", "scored", "mean score", "95 %"):
        table.add_column(name, justify="right")
    for row in results["explanation_scores"]:
        ends = row["interval"]
        table.add_row(
            row["model"],
            METHODS[row["method"]].label,
            str(row["features"]),
            str(row["scored"]),
            "-" if row["score"] is None else f"{row['score']:.2f}",
            f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else "-",
        )
    return table


def _with_interval(edge: dict[str, Any], name: str) -> str:
    """A share, with its 95 % interval on a second line where it has one."""
    ends = edge.get("interval" if name == "share" else f"{name}_interval")
    share = _share(edge.get(name))
    return f"{share}\n{ends[0]:.0%} to {ends[1]:.0%}" if ends else share
