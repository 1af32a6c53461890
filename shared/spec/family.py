"""The family of an experiment: its models, the checkpoints of their training, and their parents.

All code that needs models, parents or edges gets them here. A checkpoint is a model named
{model}@{step}, the parent of the next one; the model itself comes last. The first checkpoint's
parent is the model that the training started from, if it started from one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

from shared.spec.document import Spec

CHECKPOINT = "@"  # between the name of a model and a step; no other name contains it


@dataclass(frozen=True)
class Member:
    """A model of the family: `model` is its name in the spec, `step` that of a checkpoint or None.

    `corpora` are those it adds to the data distribution of its ancestors.
    """

    name: str
    model: str
    step: int | None
    parents: tuple[str, ...]
    corpora: tuple[str, ...]


def checkpoint_name(model: str, step: int) -> str:
    """The name of a checkpoint in the family."""
    return f"{model}{CHECKPOINT}{step}"


def split_name(name: str) -> tuple[str, int | None]:
    """The model in the spec and the step of a member's name; None for a model itself."""
    model, mark, step = name.partition(CHECKPOINT)
    return model, int(step) if mark and step.isdecimal() else None


def member_names(spec: Spec) -> tuple[str, ...]:
    """Names of all members in the order of the spec, checkpoints before their model.

    Works for a spec with a cycle too, since it needs no order of descent.
    """
    return tuple(member.name for member in _members(spec))


def family(spec: Spec) -> dict[str, Member]:
    """All members by name, ancestors before descendants; graphlib.CycleError on a cycle."""
    members = {member.name: member for member in _members(spec)}
    parents = {name: member.parents for name, member in members.items()}
    return {name: members[name] for name in TopologicalSorter(parents).static_order()}


def _members(spec: Spec) -> Iterator[Member]:
    for name, model in spec.models.items():
        parents = model.parents
        for step in model.checkpoints:
            checkpoint = checkpoint_name(name, step)
            yield Member(checkpoint, name, step, parents, model.corpora)
            parents = (checkpoint,)
        yield Member(name, name, None, parents, model.corpora)
