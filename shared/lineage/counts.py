"""How many features of an edge persist, split, merge, disappear and emerge; and the three shares.

The match stage counts an edge with it, and the API the same edge at another threshold.
"""

from __future__ import annotations

from shared.lineage.shares import RULES, ratio
from shared.lineage.side import Side
from shared.lineage.statuses import statuses

PERSIST = ("persist", "persist_any", "persist_mutual")  # the counts behind the shares of RULES
PARENT_FATES = ("persist", "disappear", "split", "merge")  # each live feature of the parent has one
CHILD_FATES = ("persist", "emerge", "split_child", "merge_child")  # and each of the child


def edge_counts(threshold: float, parent: Side, child: Side) -> dict[str, int | float | None]:
    """Counts and shares under the names of the match stage's results; a share of none is None."""
    of_parent, of_child = statuses(threshold, parent, child)
    alive = int(parent.alive_F.sum())
    counts = {
        "alive_parent": alive,
        "alive_child": int(child.alive_F.sum()),
        "persist": int((of_parent == "persist").sum()),
        "disappear": int((of_parent == "disappear").sum()),
        "emerge": int((of_child == "emerge").sum()),
        "split": int((of_parent == "split").sum()),
        "merge": int((of_parent == "merge").sum()),
        "split_child": int((of_child == "split").sum()),
        "merge_child": int((of_child == "merge").sum()),
        "persist_any": int((parent.best_r_F >= threshold).sum()),
        "persist_any_child": int((child.best_r_F >= threshold).sum()),
        "persist_mutual": int(parent.mutual_F.sum()),
    }
    names = zip(RULES, PERSIST, strict=True)
    return {**counts, **{rule: ratio(counts[name], alive) for rule, name in names}}
