"""Pages of experiments, newest first, that do not shift while new ones arrive.

A cursor names a place in the order (time of submission, id) and a direction, not a number of
experiments to skip: new experiments at the front move nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, ClassVar, Literal, cast

from fastapi import HTTPException, Query
from fastapi_pagination.cursor import CursorPage, CursorParams
from fastapi_pagination.types import Cursor as RawCursor
from pydantic import BaseModel, Field

from api.backend import Backend
from api.experiments.describe import ExperimentView, view_experiment
from api.http.parameters import Cursor, PageSize
from api.http.problems import SpecProblem
from shared.experiments.experiments import Card, Listed
from shared.experiments.states import ExperimentState
from shared.records.releases import OtherReleaseError
from shared.store import NotFoundError

BATCH = 32  # experiments whose standing is looked up together

Direction = Literal["older", "newer"]


@dataclass(frozen=True)
class Place:
    """A place in the list: everything older, or newer, than this experiment."""

    direction: Direction
    modified: float
    id: str

    def __str__(self) -> str:
        return f"{self.direction} {self.modified!r} {self.id}"

    @staticmethod
    def read(text: str) -> Place:
        """The place that a cursor names; ValueError when the cursor is not one of ours."""
        direction, modified, number = text.split(" ", 2)
        if direction not in ("older", "newer") or not math.isfinite(float(modified)):
            raise ValueError(text)
        return Place(cast(Direction, direction), float(modified), number)


class PageParams(CursorParams):
    """Which page, and how many entries."""

    def place(self) -> Place | None:
        """Where the page begins, None for the first page; a 422 problem for a wrong cursor."""
        try:
            text = self.decode_cursor(self.cursor)
            return Place.read(str(text)) if text else None
        except (HTTPException, ValueError):
            sentence = "cursor: must be next_page or previous_page of an earlier answer"
            raise SpecProblem(
                detail=sentence, errors=[{"field": "cursor", "message": sentence[8:]}]
            ) from None


def page_params(cursor: Cursor = None, size: PageSize = 50) -> PageParams:
    """The page of a request."""
    return PageParams(cursor=cursor, size=size)


class UnreadableView(BaseModel):
    """An experiment that this server cannot read, and a sentence that says why."""

    id: str
    reason: str


class ExperimentPage(CursorPage[ExperimentView]):
    """A page of experiments, newest first; the pages beside it are fetched by their cursors."""

    unreadable: list[UnreadableView] = Field(
        [], description="Experiments of this page that another release of Lineament wrote."
    )

    __params_type__ = PageParams
    # Counting the matches would mean looking at every experiment.
    __model_exclude__: ClassVar[set[str]] = {"total", "current_page_backwards"}


@dataclass(frozen=True)
class Filters:
    """Which experiments to list; None matches any."""

    states: frozenset[ExperimentState] | None = None
    name: str | None = None
    owner: str | None = None


def filters(
    state: Annotated[
        list[ExperimentState] | None, Query(description="In one of these states; repeatable.")
    ] = None,
    name: Annotated[
        str | None, Query(max_length=100, description="With this text in the name.")
    ] = None,
    owner: Annotated[
        str | None, Query(max_length=100, description="Submitted with the API key of this name.")
    ] = None,
) -> Filters:
    """The filters of a request."""
    return Filters(frozenset(state) if state else None, name or None, owner)


def page_of(backend: Backend, params: PageParams, wanted: Filters) -> ExperimentPage:
    """One page of experiments. Without a filter by state, only those of the page are looked at."""
    place = params.place()
    forwards = place is None or place.direction == "older"
    candidates = _candidates(backend.experiments.listed(), place)
    views = list(islice(_views(backend, candidates, wanted, params.size + 1), params.size + 1))
    more = len(views) > params.size
    shown = views[: params.size] if forwards else views[: params.size][::-1]
    # On the side that the client came from there is a page: only the other side is looked at.
    older = shown and (more or not forwards)
    newer = shown and (more if not forwards else place is not None)
    return cast(
        ExperimentPage,
        ExperimentPage.create(
            [view for _, view in shown if isinstance(view, ExperimentView)],
            params,
            total=0,
            current=str(place) if place else None,
            next_=_cursor("older", shown[-1][0]) if older else None,
            previous=_cursor("newer", shown[0][0]) if newer else None,
            unreadable=[view for _, view in shown if isinstance(view, UnreadableView)],
        ),
    )


def _cursor(direction: Direction, entry: Listed) -> RawCursor:
    return str(Place(direction, entry.modified, entry.id))


def _candidates(listed: list[Listed], place: Place | None) -> Iterable[Listed]:
    """Entries on the requested side of the place, nearest to it first. `listed` is oldest first."""
    if place is None:
        return reversed(listed)
    order = (place.modified, place.id)
    if place.direction == "older":
        return (entry for entry in reversed(listed) if (entry.modified, entry.id) < order)
    return (entry for entry in listed if (entry.modified, entry.id) > order)


def _views(
    backend: Backend, candidates: Iterable[Listed], wanted: Filters, page: int
) -> Iterator[tuple[Listed, ExperimentView | UnreadableView]]:
    """Views of the candidates that pass the filters, looked up lazily and in batches.

    An experiment that cannot be read has neither an owner nor a state.
    """
    matching = (entry for entry in candidates if _matches(backend, entry, wanted))
    size = page if wanted.states is None else max(page, BATCH)
    while batch := list(islice(matching, size)):
        for entry, view in _look(backend, batch):
            state = view.state if isinstance(view, ExperimentView) else None
            if wanted.states is None or state in wanted.states:
                yield entry, view


def _matches(backend: Backend, entry: Listed, wanted: Filters) -> bool:
    """Whether name and owner match. The name is the id without its digest, so it costs no read."""
    if wanted.name is not None and wanted.name not in entry.id.rpartition("-")[0]:
        return False
    if wanted.owner is None:
        return True
    try:
        return backend.experiments.card(entry.id, entry.modified).owner == wanted.owner
    except (NotFoundError, OtherReleaseError):  # deleted a moment ago, or of an unknown owner
        return False


def _look(
    backend: Backend, batch: list[Listed]
) -> Iterator[tuple[Listed, ExperimentView | UnreadableView]]:
    cards: dict[Listed, Card] = {}
    views: dict[Listed, ExperimentView | UnreadableView] = {}
    for entry in batch:
        try:
            cards[entry] = backend.experiments.card(entry.id, entry.modified)
        except NotFoundError:
            continue
        except OtherReleaseError as error:
            views[entry] = UnreadableView(id=entry.id, reason=str(error))
    standings = backend.experiments.standings(list(cards), backend.leases)
    for (entry, card), standing in zip(cards.items(), standings, strict=True):
        views[entry] = view_experiment(card, standing)
    yield from ((entry, views[entry]) for entry in batch if entry in views)
