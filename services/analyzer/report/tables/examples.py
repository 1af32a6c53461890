"""CSV tables of single features: universal ones, those of labels, and those of figures 3 and 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.analyzer.report.tables.registry import Row, Source, Table


def tables(source: Source) -> Iterator[Table]:
    """Three tables: universal.csv, labels.csv and examples.csv."""
    yield Table("universal", universal(source.results))
    yield Table("labels", labels(source.results))
    yield Table("examples", examples(source.results))


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
