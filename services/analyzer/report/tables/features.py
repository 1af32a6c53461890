"""The CSV tables of features, one a model: their fate on every edge, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.analyzer.report.tables.explanations import names
from services.analyzer.report.tables.registry import Row, Source, Table
from services.analyzer.report.text import file_names
from shared.lineage.roles import Role
from shared.stages.stage import Input

SCALED = ("own", "other", "ratio", "readable", "false_change")


def tables(source: Source) -> Iterator[Table]:
    """One table for each model, features_MODEL.csv."""
    for name, plain in file_names(source.results["models"]).items():
        yield Table(f"features_{plain}", features(name, source.results, source.inputs))


def features(name: str, results: Mapping[str, Any], inputs: Mapping[str, Input]) -> list[Row]:
    """One row for each feature of a model and each edge that ends at the model.

    `side` says whether the model is the edge's parent or child, `other` names the other model;
    status, best, match and so on are those of the match stage, `fate` those of track, own .. of
    latent scaling, `explanation` the language model's where there is one, else that of the rules.
    Lists are written with spaces between.
    """
    rows = []
    known: dict[str, dict[int, Row]] = {}
    for edge in results["edges"]:
        if name not in (edge["parent"], edge["child"]):
            continue
        tracking = edge["tracking"]
        side = "parent" if name == edge["parent"] else "child"
        other = edge["child"] if side == "parent" else edge["parent"]
        pair = tracking, edge["parent"], edge["child"]
        place = {"tracking": tracking, "side": side, "other": other}
        if tracking not in known:
            known[tracking] = _known(tracking, name, results["trackings"][tracking], inputs)
        scaled = _scaled(inputs.get(Role.scaling(*pair)), side)
        source = inputs[Role.match(*pair)].path / f"{side}.parquet"
        for row in pq.read_table(source).to_pylist():
            more = {**known[tracking].get(row["feature"], {}), **scaled.get(row["feature"], {})}
            rows.append({**place, **{key: _plain(one) for key, one in (row | more).items()}})
    return rows


def _plain(value: Any) -> Any:
    """A list as words with spaces between."""
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _known(
    tracking: str, name: str, settings: Mapping[str, Any], inputs: Mapping[str, Input]
) -> dict[int, Row]:
    """What contexts, track and explanations say of each feature of a model."""
    found = _described(inputs.get(Role.contexts(tracking, name)), settings["corpora"] or ())
    for feature, fate in _fates(inputs.get(Role.track(tracking)), settings["models"], name).items():
        found.setdefault(feature, {})["fate"] = fate
    for feature, named in names(tracking, name, settings["corpora"] or (), inputs).items():
        found.setdefault(feature, {}).update(named)
    return found


def _described(source: Input | None, corpora: Sequence[str]) -> dict[int, Row]:
    """Density, strength and best label of each feature, where the contexts stage was run.

    Its columns corpus_0, corpus_1 .. (share of the firings in each corpus) get the corpora's names.
    """
    if source is None:
        return {}
    table = pq.read_table(source.path / "features.parquet")
    names = {f"corpus_{number}": f"share_in_{corpus}" for number, corpus in enumerate(corpora)}
    table = table.rename_columns([names.get(column, column) for column in table.column_names])
    return {row["feature"]: row for row in table.to_pylist()}


def _fates(source: Input | None, models: Sequence[str], name: str) -> dict[int, list[str]]:
    """The fates of a model's features along the whole family, where track wrote them."""
    path = source.path / "chains.parquet" if source else None
    if path is None or not path.exists() or name not in models:
        return {}
    wanted = pc.field("model") == models.index(name)
    rows = pq.read_table(path, filters=wanted).to_pylist()
    return {row["feature"]: row["fate"] for row in rows}


def _scaled(source: Input | None, side: str) -> dict[int, Row]:
    """Latent scaling of the features of one side of an edge."""
    path = source.path / f"{side}.parquet" if source else None
    if path is None or not path.exists():
        return {}
    table = pq.read_table(path)
    columns = ["feature", *(one for one in SCALED if one in table.column_names)]
    return {row.pop("feature"): row for row in table.select(columns).to_pylist()}
