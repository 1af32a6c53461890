"""Roles of a report's inputs: what a stage is to the report, under the names that users chose.

A role is text, `kind/name/..`, because it is a key of the report stage's inputs (and so part of its
key). The plan gives roles to stages, the report and REST find stages by them; all of them build and
read roles here alone. No name has a slash in it.
"""

from __future__ import annotations

from collections.abc import Iterable


class Role(str):
    """One role; equal to its text, so that it looks up a mapping whose keys were read from JSON."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        """What the stage is to the report, for instance "match"."""
        return self.split("/", 1)[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The names behind the kind, in the order of the kind's constructor."""
        return tuple(self.split("/")[1:])

    # ------------------------------------------------------------------ models and corpora

    @classmethod
    def corpus(cls, corpus: str) -> Role:
        """A corpus, read and divided."""
        return cls(f"corpus/{corpus}")

    @classmethod
    def tokens(cls, corpus: str) -> Role:
        """The packed tokens of a corpus."""
        return cls(f"tokens/{corpus}")

    @classmethod
    def model(cls, model: str) -> Role:
        """A model of the family; a checkpoint of a training run is named {model}@{step}."""
        return cls(f"model/{model}")

    @classmethod
    def evaluate(cls, model: str) -> Role:
        """The evaluation of a model on every corpus."""
        return cls(f"evaluate/{model}")

    @classmethod
    def untrained(cls, model: str) -> Role:
        """The evaluation of the weights that a pre-trained model started from."""
        return cls(f"untrained/{model}")

    @classmethod
    def sweep(cls, sweep: str) -> Role:
        """The points of a sweep between two models."""
        return cls(f"sweep/{sweep}")

    # ------------------------------------------------------------------------ dictionaries

    @classmethod
    def dictionary(cls, group: str, model: str, replicate: int) -> Role:
        """A model's dictionary; `replicate` counts the seeds of the group."""
        return cls(f"dictionary/{group}/{model}/{replicate}")

    @classmethod
    def quality(cls, group: str, model: str, replicate: int) -> Role:
        """The evaluation of that dictionary."""
        return cls(f"quality/{group}/{model}/{replicate}")

    @classmethod
    def crosscoder(cls, group: str, parent: str, child: str) -> Role:
        """One dictionary of both models of an edge."""
        return cls(f"crosscoder/{group}/{parent}/{child}")

    @classmethod
    def cell_quality(cls, name: str, cell: int, replicate: int) -> Role:
        """The evaluation of a dictionary of a stability grid."""
        return cls(f"stability/{name}/{cell}/quality/{replicate}")

    @classmethod
    def cell_ceiling(cls, name: str, cell: int) -> Role:
        """The match of a cell's first two seeds."""
        return cls(f"stability/{name}/{cell}/ceiling")

    # --------------------------------------------------------------------------- trackings

    @classmethod
    def match(cls, tracking: str, parent: str, child: str) -> Role:
        """The match along an edge."""
        return cls(f"match/{tracking}/{parent}/{child}")

    @classmethod
    def ancestor(cls, tracking: str, ancestor: str, model: str) -> Role:
        """The match of a model with an ancestor that is not its parent."""
        return cls(f"ancestor/{tracking}/{ancestor}/{model}")

    @classmethod
    def crossed(cls, tracking: str, parent: str, child: str) -> Role:
        """The match of the parent's first seed with the child's second."""
        return cls(f"crossed/{tracking}/{parent}/{child}")

    @classmethod
    def ceiling(cls, tracking: str, model: str) -> Role:
        """The match of two seeds of one model."""
        return cls(f"ceiling/{tracking}/{model}")

    @classmethod
    def warm(cls, tracking: str, model: str) -> Role:
        """The match with a dictionary started from it, on the same model in another order."""
        return cls(f"warm/{tracking}/{model}")

    @classmethod
    def unrelated(cls, tracking: str, model: str) -> Role:
        """The match with a dictionary started from it, on an untrained model."""
        return cls(f"unrelated/{tracking}/{model}")

    @classmethod
    def scaling(cls, tracking: str, parent: str, child: str) -> Role:
        """Latent scaling of the features that change along an edge."""
        return cls(f"scaling/{tracking}/{parent}/{child}")

    @classmethod
    def contexts(cls, tracking: str, model: str) -> Role:
        """Where each feature of a model fires."""
        return cls(f"contexts/{tracking}/{model}")

    @classmethod
    def track(cls, tracking: str) -> Role:
        """Chains of features through the family."""
        return cls(f"track/{tracking}")

    @classmethod
    def explain(cls, tracking: str, method: str, model: str) -> Role:
        """The explanations of a model's features by a method."""
        return cls(f"explain/{tracking}/{method}/{model}")

    @classmethod
    def explained_edge(cls, tracking: str, method: str, parent: str, child: str) -> Role:
        """The explanations of the parent held against the child."""
        return cls(f"explained_edge/{tracking}/{method}/{parent}/{child}")


def roles_of(roles: Iterable[str], kind: str, *names: str) -> list[Role]:
    """The roles of a kind whose first names are those given, in the order of `roles`."""
    typed = (Role(role) for role in roles)
    return [role for role in typed if role.kind == kind and role.names[: len(names)] == names]
