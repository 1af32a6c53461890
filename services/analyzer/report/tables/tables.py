"""CSV tables with everything that the figures show, and the fate of every feature."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.analyzer.report.tables import chains as tables_chains
from services.analyzer.report.tables import edges as tables_edges
from services.analyzer.report.tables import explanations as tables_explanations
from services.analyzer.report.tables import features as tables_features
from services.analyzer.report.tables.edges import bins
from services.analyzer.report.text import file_names
from shared.stages.stage import Input

Row = dict[str, Any]


def write(results: Mapping[str, Any], inputs: Mapping[str, Input], directory: Path) -> None:
    """Write all tables; a table without rows is left out."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in (
        ("models", models(results)),
        ("sweeps", sweeps(results)),
        ("dictionaries", dictionaries(results)),
        ("densities", densities(results)),
        ("edges", tables_edges.edges(results["edges"])),
        ("ancestors", tables_edges.edges(results["ancestors"])),
        ("curve", tables_edges.curve(results)),
        ("best_r", tables_edges.best_r(results)),
        ("merges", tables_chains.merges(results)),
        ("regained", results["regained"]),
        ("training", tables_chains.training(results)),
        ("stability", tables_chains.stability(results)),
        ("crosscoders", tables_chains.crosscoders(results)),
        ("universal", universal(results)),
        ("labels", labels(results)),
        ("examples", examples(results)),
        ("explanation_scores", tables_explanations.scores(results)),
        ("explained_edges", tables_explanations.edges(results)),
    ):
        _write(directory / f"{name}.csv", rows)
    tables_explanations.write(results, inputs, directory)
    for name, plain in file_names(results["models"]).items():
        _write(directory / f"features_{plain}.csv", tables_features.features(name, results, inputs))


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
        for low, high, features_ in bins(entry["density_histogram"])
    ]


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
            **{key: row[key] for key in row if key not in ("persists_in", "contexts", "about")},
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
