"""Pages of experiments, newest first, that stay put while new ones arrive.

A cursor names a place in the order (time of submission, id) and a direction, not a number of
experiments to skip: what comes in at the front moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, ClassVar, Literal, cast

from fastapi import HTTPException, Query
from fastapi_pagination.cursor import CursorPage, CursorParams
from fastapi_pagination.types import Cursor as Written
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
        """The place in a cursor; ValueError when it is not one of ours."""
        direction, modified, number = text.split(" ", 2)
        if direction not in ("older", "newer") or not math.isfinite(float(modified)):
            raise ValueError(text)
        return Place(cast(Direction, direction), float(modified), number)


class PageParams(CursorParams):
    """Which page, and how long."""

    def place(self) -> Place | None:
        """Where the page begins, None for the first; a 422 problem for a wrong cursor."""
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
    # Counting what matches would mean looking at every experiment.
    __model_exclude__: ClassVar[set[str]] = {"total", "current_page_backwards"}


@dataclass(frozen=True)
class Filters:
    """Which experiments are wanted; None is any."""

    states: frozenset[ExperimentState] | None = None
    name: str | None = None
    owner: str | None = None


def filters(
    state: Annotated[
        list[ExperimentState] | None, Query(description="In one of these states; repeatable.")
    ] = None,
    name: Annotated[
        str | None, Query(max_length=100, description="With these letters in the name.")
    ] = None,
    owner: Annotated[
        str | None, Query(max_length=100, description="Submitted with the API key of this name.")
    ] = None,
) -> Filters:
    """The filters of a request."""
    return Filters(frozenset(state) if state else None, name or None, owner)


def page_of(backend: Backend, params: PageParams, wanted: Filters) -> ExperimentPage:
    """One page. Without a filter by state only the experiments of the page are looked at."""
    place = params.place()
    forwards = place is None or place.direction == "older"
    candidates = _candidates(backend.experiments.listed(), place)
    found = list(islice(_views(backend, candidates, wanted, params.size + 1), params.size + 1))
    more = len(found) > params.size
    shown = found[: params.size] if forwards else found[: params.size][::-1]
    # Coming from one side there was something on that side: it need not be looked for.
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


def _cursor(direction: Direction, one: Listed) -> Written:
    return str(Place(direction, one.modified, one.id))


def _candidates(listed: list[Listed], place: Place | None) -> Iterable[Listed]:
    """What lies on the asked side of the place, nearest to it first. `listed` is oldest first."""
    if place is None:
        return reversed(listed)
    here = (place.modified, place.id)
    if place.direction == "older":
        return (one for one in reversed(listed) if (one.modified, one.id) < here)
    return (one for one in listed if (one.modified, one.id) > here)


def _views(
    backend: Backend, candidates: Iterable[Listed], wanted: Filters, page: int
) -> Iterator[tuple[Listed, ExperimentView | UnreadableView]]:
    """The wanted ones among the candidates, looked at in batches and no further than asked.

    What cannot be read has neither an owner nor a state.
    """
    matching = (one for one in candidates if _matches(backend, one, wanted))
    size = page if wanted.states is None else max(page, BATCH)
    while batch := list(islice(matching, size)):
        for one, view in _look(backend, batch):
            state = view.state if isinstance(view, ExperimentView) else None
            if wanted.states is None or state in wanted.states:
                yield one, view


def _matches(backend: Backend, one: Listed, wanted: Filters) -> bool:
    """Whether name and owner fit; the name is the id without its digest, so it costs nothing."""
    if wanted.name is not None and wanted.name not in one.id.rpartition("-")[0]:
        return False
    if wanted.owner is None:
        return True
    try:
        return backend.experiments.card(one.id, one.modified).owner == wanted.owner
    except (NotFoundError, OtherReleaseError):  # deleted a moment ago, or nobody knows whose
        return False


def _look(
    backend: Backend, batch: list[Listed]
) -> Iterator[tuple[Listed, ExperimentView | UnreadableView]]:
    cards: dict[Listed, Card] = {}
    views: dict[Listed, ExperimentView | UnreadableView] = {}
    for one in batch:
        try:
            cards[one] = backend.experiments.card(one.id, one.modified)
        except NotFoundError:
            continue
        except OtherReleaseError as error:
            views[one] = UnreadableView(id=one.id, reason=str(error))
    standings = backend.experiments.standings(list(cards), backend.leases)
    for (one, card), standing in zip(cards.items(), standings, strict=True):
        views[one] = view_experiment(card, standing)
    yield from ((one, views[one]) for one in batch if one in views)
