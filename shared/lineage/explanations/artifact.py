"""The table that an explain stage writes, and the explanation that names each feature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from shared.lineage.explanations import scores
from shared.lineage.explanations.methods import METHODS, MethodName
from shared.lineage.explanations.shown import shown

FILE = "explanations.parquet"
COLUMNS = ("feature", "status", "density", "explanation", *scores.COLUMNS, "failure")
"""What readers see of a row; the file also holds the rule itself, for machines."""


def with_names(table: pa.Table, method: MethodName, corpora: Sequence[str]) -> pa.Table:
    """A stored table whose explanations are as readers see them (see `shown`)."""
    if not METHODS[method].numbers_corpora:
        return table
    named = [shown(text, method, corpora) for text in table["explanation"].to_pylist()]
    place = table.column_names.index("explanation")
    return table.set_column(place, "explanation", pa.array(named, pa.string()))


def best(tables: Iterable[tuple[MethodName, pa.Table]]) -> dict[int, dict[str, Any]]:
    """By feature, the row of the explanation that names it, with its `method`.

    The tables come in the order of METHODS: the last explanation of a feature counts.
    """
    return {
        row["feature"]: {**row, "method": method}
        for method, table in tables
        for row in table.to_pylist()
        if row["explanation"] is not None
    }
