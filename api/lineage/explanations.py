"""Explanations of features and their scores, as the explain stages wrote them.

They are text of unknown origin: a language model may have been told by a corpus what to say. JSON
carries them unchanged; whoever shows them has to escape them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field, create_model

from api.lineage.names import Lineage
from shared.lineage.explanations.artifact import COLUMNS as STORED
from shared.lineage.explanations.artifact import FILE, best, with_names
from shared.lineage.explanations.explained_edge import sides
from shared.lineage.explanations.feature_status import FeatureStatus
from shared.lineage.explanations.methods import METHODS, MethodName
from shared.lineage.explanations.scores import SCORES
from shared.lineage.explanations.shown import shown
from shared.lineage.roles import Role

ExplanationSort = Literal["feature", "score", "density"]
Interval = tuple[float, float] | None


class _Unscored(BaseModel):
    """An explanation without its scores."""

    method: MethodName
    label: str | None = Field(description="What its operator calls the language model.")
    status: FeatureStatus = Field(description="What became of the feature in the family.")
    density: float = Field(description="Share of the tokens on which it fires.")
    explanation: str | None = Field(
        description="Plain text that is not to be trusted; null after a failure."
    )


if TYPE_CHECKING:
    _Scored = _Unscored
else:  # a field for each declared score
    _Scored = create_model(
        "_Scored",
        __base__=_Unscored,
        **{
            score.column: (float | None, Field(description=score.description))
            for score in SCORES.values()
        },
    )


class Explanation(_Scored):
    """What a feature is about, by rules or by the language model, and how well that predicts it."""

    failure: str | None = Field(description="Why there is no explanation, or no score.")


class ListedExplanation(Explanation):
    """An explanation with the number of its feature."""

    feature: int


COLUMNS = ("feature", "method", *(name for name in STORED if name != "feature"))


class CrossScore(BaseModel):
    """The parent's explanations on features of the child: means over `features` of the parent."""

    features: int
    score: float | None = Field(description="On the parent's own features.")
    cross: float | None = Field(description="On the child's features, on the same windows.")
    interval: Interval = Field(description="95 % of the mean of cross.")
    difference: float | None = Field(description="Mean of score - cross.")
    difference_interval: Interval


class ExplainedEdge(BaseModel):
    """Whether explanations of the parent predict the child's features.

    persist: the matches of features that persist; disappear: the child's closest features to those
    without a match; null where there are none.
    """

    method: MethodName
    persist: CrossScore | None
    disappear: CrossScore | None


def explain_roles(tracking: str, model: str) -> list[str]:
    """The roles of the explanations of a model, rules first."""
    return [Role.explain(tracking, method, model) for method in METHODS]


def explanations_of(lineage: Lineage, tracking: str, model: str, index: int) -> list[Explanation]:
    """The explanations of one feature that are finished, rules first."""
    found = []
    for method, role in zip(METHODS, explain_roles(tracking, model), strict=True):
        manifest = lineage.finished(role)
        if manifest is None:
            continue
        place = {"method": method, "label": manifest.results.get("label")}
        for row in lineage.backend.files.rows(manifest, FILE, "feature", index):
            row["explanation"] = shown(row["explanation"], method, corpora_of(lineage, tracking))
            found.append(Explanation.model_validate({**row, **place}))
    return found


def name_of(lineage: Lineage, tracking: str, model: str, index: int | None) -> str | None:
    """The best explanation of a feature: the language model's, else the rules'; None for none."""
    known = [] if index is None else explanations_of(lineage, tracking, model, index)
    return next((one.explanation for one in reversed(known) if one.explanation is not None), None)


def names_of(
    lineage: Lineage, tracking: str, model: str, features: Sequence[int] | None = None
) -> dict[int, str]:
    """The best explanation of every feature of a model that has one, or of some features."""
    tables = []
    for method, role in zip(METHODS, explain_roles(tracking, model), strict=True):
        manifest = lineage.finished(role)
        if manifest is not None:
            table = lineage.backend.files.table(manifest, FILE, ["feature", "explanation"])
            wanted = pc.is_valid(table["explanation"])
            if features is not None:
                known = pa.array(features, pa.int64())
                wanted = pc.and_(wanted, pc.is_in(pc.cast(table["feature"], pa.int64()), known))
            named = with_names(table.filter(wanted), method, corpora_of(lineage, tracking))
            tables.append((method, named))
    return {feature: row["explanation"] for feature, row in best(tables).items()}


def corpora_of(lineage: Lineage, tracking: str) -> list[str]:
    """Names of the corpora of a tracking's stream, in order."""
    return list(lineage.section("tracking")[tracking]["corpora"])


def explained_edge(lineage: Lineage, tracking: str, parent: str, child: str) -> list[ExplainedEdge]:
    """What the finished explain_edge stages of an edge found, rules first."""
    found = []
    for method in METHODS:
        manifest = lineage.finished(Role.explained_edge(tracking, method, parent, child))
        if manifest is not None:
            values = {"method": method, **sides(manifest.results)}
            found.append(ExplainedEdge.model_validate(values))
    return found


def selected(
    tables: dict[MethodName, pa.Table],
    statuses: list[FeatureStatus] | None,
    search: str | None,
    sort: ExplanationSort,
    order: Literal["asc", "desc"],
) -> pa.Table:
    """The wanted rows of some methods' tables, as COLUMNS; those without a value come last.

    `search` is found anywhere in an explanation, upper and lower case alike.
    """
    parts = [
        table.append_column("method", pa.array([method] * len(table), pa.string()))
        for method, table in tables.items()
    ]
    table = pa.concat_tables(parts).select(list(COLUMNS))
    if statuses:
        table = table.filter(pc.is_in(table["status"], value_set=pa.array(statuses, pa.string())))
    if search:
        wanted = pc.match_substring(table["explanation"], search, ignore_case=True)
        table = table.filter(pc.fill_null(wanted, False))
    values = _numbers(table, sort)
    keys = -values if order == "desc" else values
    return table.take(pa.array(np.lexsort((_numbers(table, "feature"), keys))))


def _numbers(table: pa.Table, column: str) -> npt.NDArray[np.float64]:
    """A column as float64, NaN for null: NaN sorts behind everything."""
    values = pc.fill_null(pc.cast(table[column], pa.float64()), np.nan)
    return np.asarray(values.to_numpy(), np.float64)
