"""Stage `match`: which features of a parent persist in a child, and how sure that is.

F: features of the parent, G: of the child, B: replicates of the bootstrap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial

import numpy as np

from services.analyzer.codes.codes import load_codes, load_documents
from services.analyzer.codes.correlate import Pairs, Partners, search
from services.analyzer.match.bootstrap import NEAR, bootstrap
from services.analyzer.match.cosine import Cosines, load_directions
from services.analyzer.match.edge import EdgeMatches
from services.analyzer.match.memo import Arrays, Memo
from services.analyzer.match.null import Null, Shift, shift_of, shifted
from services.analyzer.match.pairing import edge_of, lowest_floor
from services.analyzer.match.results import (
    cosine_results,
    curve_rows,
    extras_of,
    null_arrays,
    write_edge,
)
from services.analyzer.match.significance import FALSE_DISCOVERIES
from shared.arrays import FloatArray
from shared.lineage.shares import interval
from shared.lineage.statuses import alive
from shared.stages.analyzer import MatchParameters
from shared.stages.stage import Leave, Stage, StageError

_BESTS = ("best_F", "best_r_F", "best_G", "best_r_G")  # arrays of Partners beside its pairs


def run(stage: Stage) -> None:
    """Match the features of the inputs `parent` and `child` (see MATCH)."""
    parameters = MatchParameters.model_validate(stage.parameters)
    _check(parameters)
    matching = _Matching(stage, parameters)
    edge = matching.edge()
    null = matching.null()
    replicates = matching.bootstrap(edge)
    cosines = matching.cosines()
    extras = extras_of(edge, null, cosines)
    stage.results.update(
        edge.counts(parameters.threshold),
        significant=int((extras[0].q <= FALSE_DISCOVERIES).sum()) if null else None,
        tokens=matching.parent.tokens,
        documents=matching.documents,
        interval=interval(replicates["share"]),
        interval_any=interval(replicates["share_any"]),
        interval_mutual=interval(replicates["share_mutual"]),
        null=null.results() if null else None,
        curve=curve_rows(edge, null),
        cosine=cosine_results(edge, cosines) if cosines else None,
    )
    write_edge(stage.output, edge, parameters.threshold, parameters.floor, extras)
    np.savez(stage.output / "bootstrap.npz", allow_pickle=False, **replicates)
    np.savez(stage.output / "null.npz", allow_pickle=False, **null_arrays(edge, null))


def _check(parameters: MatchParameters) -> None:
    if not 0 < parameters.threshold <= 1 or parameters.floor <= 0:
        raise StageError("threshold must lie in (0, 1] and floor above 0")
    for name in ("shifts", "resamples", "parts"):
        if getattr(parameters, name) < 0:
            raise StageError(f"{name} must not be negative")


class _Matching:
    """The long steps of the stage; each reports progress, leaves when asked, and can be resumed."""

    def __init__(self, stage: Stage, parameters: MatchParameters) -> None:
        self._stage, self._parameters = stage, parameters
        source = stage.input("parent")
        self.parent, self.child = load_codes(source), load_codes(stage.input("child"))
        if self.parent.tokens != self.child.tokens:
            raise StageError(
                f"parent and child were encoded on different token streams: {self.parent.tokens} "
                f"token positions against {self.child.tokens}"
            )
        self.documents_T = load_documents(source)
        self.documents = int(source.results["documents"])
        self._corpora = [int(tokens) for tokens in source.results["corpora"]]
        self._memo = Memo(stage)
        self._passes = 1 + parameters.shifts + min(1, parameters.resamples)
        self._alive = (
            alive(self.parent.firings, parameters.min_firings),
            alive(self.child.firings, parameters.min_firings),
        )

    def edge(self) -> EdgeMatches:
        """The partners of all features."""
        parameters = self._parameters
        lowest = lowest_floor(parameters.floor, parameters.threshold)

        def compute() -> Arrays:
            partners = search(self.parent, self.child, lowest, *self._alive, watch=self._watch(0))
            named = {name: getattr(partners, name) for name in _BESTS}
            return named | asdict(partners.pairs)

        arrays = self._memo.get("edge", compute)
        pairs = Pairs(arrays["parent_Z"], arrays["child_Z"], arrays["r_Z"])
        partners = Partners(pairs=pairs, **{name: arrays[name] for name in _BESTS})
        threshold, least = parameters.threshold, parameters.min_firings
        return edge_of(self.parent, self.child, partners, threshold, least, parameters.parts)

    def null(self) -> Null | None:
        """Matches under every shift; None without shifts. StageError when a shift moves nothing."""
        count = self._parameters.shifts
        if count == 0:
            return None
        shifts = [
            shift_of(number, count, self.documents_T, self._corpora)
            for number in range(1, count + 1)
        ]
        if any(shift.stays for shift in shifts):
            raise StageError(
                f"shifts={count} is too many for a stream of {self.parent.tokens} tokens: one of "
                "them would move nothing and be no control"
            )
        matches = [
            self._memo.get(f"shift-{number}", partial(self._shifted, number, shift))
            for number, shift in enumerate(shifts)
        ]
        return Null(shifts, matches)

    def _shifted(self, number: int, shift: Shift) -> Arrays:
        threshold, watch = self._parameters.threshold, self._watch(1 + number)
        return shifted(self.parent, self.child, shift, self._alive, threshold, watch)

    def bootstrap(self, edge: EdgeMatches) -> Mapping[str, FloatArray]:
        """Shares [resamples] in every replicate, by the names of RULES."""
        parameters = self._parameters
        near = edge.pairs.from_r(parameters.threshold - NEAR)
        return bootstrap(
            self.parent,
            self.child,
            self.documents_T,
            near,
            int(self._alive[0].sum()),
            parameters.threshold,
            parameters.resamples,
            self._watch(1 + parameters.shifts, pairs=0),
        )

    def cosines(self) -> Cosines | None:
        """Cosines of decoder directions; None unless both dictionaries are given."""
        if "parent_dictionary" not in self._stage.inputs:
            return None
        directions = []
        for name, codes in (("parent", self.parent), ("child", self.child)):
            read = load_directions(self._stage.input(f"{name}_dictionary").path)
            if len(read) != codes.width:
                raise StageError(
                    f"{name}_dictionary has {len(read)} features, but the {name} was encoded "
                    f"with {codes.width}"
                )
            directions.append(read)
        if directions[0].shape[1] != directions[1].shape[1]:
            raise StageError(
                "parent_dictionary and child_dictionary do not read the same basis: width "
                f"{directions[0].shape[1]} against {directions[1].shape[1]}"
            )
        return Cosines(*directions)

    def _watch(self, number: int, pairs: int | None = None) -> Callable[[int, int], None]:
        """A callback that reports the progress of one pass out of all, with its speed.

        It raises Leave when the stage was asked to stop. `pairs` are the feature pairs that the
        pass correlates: all, if not given.
        """
        count = self.parent.width * self.child.width if pairs is None else pairs
        began = time.monotonic()

        def watch(done: int, total: int) -> None:
            if self._stage.stopping:
                raise Leave
            share = done / max(1, total)
            rate = share * count / max(1e-9, time.monotonic() - began)
            speed = {"pairs_per_second": rate} if count else {}
            self._stage.progress(number + share, self._passes, "passes", **speed)

        return watch
