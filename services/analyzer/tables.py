"""CSV tables with everything that the figures show, and the fate of every feature."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from shared.stage import Input

Row = dict[str, Any]


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A different, harmless file name for every name."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        while plain in found.values():
            plain += "_"
        found[name] = plain
    return found


def write(results: Mapping[str, Any], inputs: Mapping[str, Input], directory: Path) -> None:
    """Write all tables; a table without rows is left out."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in (
        ("models", models(results)),
        ("sweeps", sweeps(results)),
        ("dictionaries", dictionaries(results)),
        ("densities", densities(results)),
        ("edges", edges(results)),
        ("best_r", best_r(results)),
        ("universal", universal(results)),
        ("labels", labels(results)),
        ("examples", examples(results)),
    ):
        _write(directory / f"{name}.csv", rows)
    for name, plain in file_names(results["models"]).items():
        _write(directory / f"features_{plain}.csv", features(name, results, inputs))


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the union of their columns, in the order in which they first come."""
    if not rows:
        return
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def models(results: Mapping[str, Any]) -> list[Row]:
    """One row for each model and corpus; the untrained base lines have trained = 0."""
    rows = []
    for trained, group in ((1, results["models"]), (0, results["untrained"])):
        for name, values in group.items():
            model = results["models"][name]
            for corpus, measured in values["corpora"].items():
                rows.append(
                    {
                        "model": name,
                        "trained": trained,
                        "kind": model["kind"],
                        "parents": " ".join(model["parents"]),
                        "parameters": model["parameters"],
                        "corpus": corpus,
                        "loss": measured["loss"],
                        "accuracy": measured["accuracy"],
                    }
                )
    return rows


def sweeps(results: Mapping[str, Any]) -> list[Row]:
    """One row for each point and corpus of a sweep, with the reference model's values."""
    rows = []
    for name, sweep in results["sweeps"].items():
        reference = sweep["reference"] or {"model": "", "corpora": {}}
        for point in sweep["points"]:
            for corpus, measured in point["corpora"].items():
                base = reference["corpora"].get(corpus, {})
                rows.append(
                    {
                        "sweep": name,
                        "at_zero": sweep["at_zero"],
                        "at_one": sweep["at_one"],
                        "t": point["t"],
                        "corpus": corpus,
                        "loss": measured["loss"],
                        "accuracy": measured["accuracy"],
                        "reference": reference["model"],
                        "reference_loss": base.get("loss", ""),
                        "reference_accuracy": base.get("accuracy", ""),
                    }
                )
    return rows


def dictionaries(results: Mapping[str, Any]) -> list[Row]:
    """One row for each dictionary, its histogram left to `densities`."""
    return [
        {"model": name, **{key: entry[key] for key in entry if key != "density_histogram"}}
        for name, entries in results["dictionaries"].items()
        for entry in entries
    ]


def densities(results: Mapping[str, Any]) -> list[Row]:
    """One row for each bin of each dictionary's histogram of log10 firing density."""
    return [
        {
            "model": name,
            **{key: entry[key] for key in ("group", "replicate", "seed")},
            "log10_from": low,
            "log10_to": high,
            "features": features_,
        }
        for name, entries in results["dictionaries"].items()
        for entry in entries
        if entry["density_histogram"]
        for low, high, features_ in _bins(entry["density_histogram"])
    ]


def edges(results: Mapping[str, Any]) -> list[Row]:
    """One row for each edge, its histograms left to `best_r`."""
    return [{key: edge[key] for key in edge if key != "best_r"} for edge in results["edges"]]


def best_r(results: Mapping[str, Any]) -> list[Row]:
    """One row for each bin of the histograms of best r: of an edge, its ceiling and its null."""
    return [
        {
            **{key: edge[key] for key in ("tracking", "parent", "child")},
            "of": which,
            "r_from": low,
            "r_to": high,
            "features": features_,
        }
        for edge in results["edges"]
        for which, histogram in edge["best_r"].items()
        if histogram
        for low, high, features_ in _bins(histogram)
    ]


def _bins(histogram: Mapping[str, Any]) -> Iterator[tuple[float, float, int]]:
    """Lower edge, upper edge and count of each bin."""
    for (low, high), counted in zip(pairwise(histogram["edges"]), histogram["counts"], strict=True):
        yield low, high, counted


def universal(results: Mapping[str, Any]) -> list[Row]:
    """One row for each universal feature: its number and correlation in every model."""
    rows = []
    for chain in results["universal"]:
        row = {"tracking": chain["tracking"], "weakest_r": chain["weakest_r"]}
        for name, place in chain["models"].items():
            row[f"feature_{name}"] = place["feature"]
            row[f"correlation_{name}"] = place["correlation"]
        rows.append(row)
    return rows


def labels(results: Mapping[str, Any]) -> list[Row]:
    """One row for each label and model: its best feature."""
    return [
        {
            **{key: row[key] for key in row if key not in ("persists_in", "contexts")},
            "persists_in": " ".join(row["persists_in"]),
        }
        for row in results["labels"]
    ]


def examples(results: Mapping[str, Any]) -> list[Row]:
    """One row for each token of figures 3 and 4 and each feature shown there."""
    rows = []
    for tracking, pair in results["examples"].items():
        for figure, example in ((3, pair["universal"]), (4, pair["failing"])):
            if not example:
                continue
            for number, context in enumerate(example["contexts"]):
                for model, feature, values in shown(figure, example, context):
                    for place, (token, value) in enumerate(
                        zip(context["tokens"], values, strict=True)
                    ):
                        rows.append(
                            {
                                "tracking": tracking,
                                "figure": figure,
                                "context": number,
                                "corpus": context["corpus"],
                                "place": place,
                                "token": token,
                                "model": model,
                                "feature": feature,
                                "activation": value,
                            }
                        )
    return rows


def shown(
    figure: int, example: Mapping[str, Any], context: Mapping[str, Any]
) -> list[tuple[str, int, list[float]]]:
    """Model, feature and activations of each strip of tokens in a context of figure 3 or 4."""
    if figure == 3:
        strips = zip(example["models"], example["features"], context["activations"], strict=True)
        return list(strips)
    return [
        (example["parent"], example["feature"], context["parent"]),
        (example["child"], example["closest"], context["child"]),
    ]


def features(name: str, results: Mapping[str, Any], inputs: Mapping[str, Input]) -> list[Row]:
    """One row for each feature of a model and each edge that ends at the model.

    `side` says whether the model is the edge's parent or child, `other` names the other model;
    status, best, best_r, match and match_r are those of the match stage.
    """
    rows = []
    for edge in results["edges"]:
        if name not in (edge["parent"], edge["child"]):
            continue
        side = "parent" if name == edge["parent"] else "child"
        other = edge["child"] if side == "parent" else edge["parent"]
        role = f"match/{edge['tracking']}/{edge['parent']}/{edge['child']}"
        place = {"tracking": edge["tracking"], "side": side, "other": other}
        corpora = results["trackings"][edge["tracking"]]["corpora"] or ()
        described = _described(edge["tracking"], name, inputs, corpora)
        for row in pq.read_table(inputs[role].path / f"{side}.parquet").to_pylist():
            rows.append({**place, **row, **described.get(row["feature"], {})})
    return rows


def _described(
    tracking: str, name: str, inputs: Mapping[str, Input], corpora: Sequence[str]
) -> dict[int, Row]:
    """Density, strength and best label of each feature, where the contexts stage was run.

    Its columns corpus_0, corpus_1 .. (share of the firings in each corpus) get the corpora's names.
    """
    source = inputs.get(f"contexts/{tracking}/{name}")
    if source is None:
        return {}
    table = pq.read_table(source.path / "features.parquet")
    names = {f"corpus_{number}": f"share_in_{corpus}" for number, corpus in enumerate(corpora)}
    table = table.rename_columns([names.get(column, column) for column in table.column_names])
    return {row["feature"]: row for row in table.to_pylist()}
