"""Checks that need more than one field: names, cycles, shapes, vocabularies, sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError

from shared.spec.base import suggestion
from shared.spec.dictionaries import Recipe
from shared.spec.document import MANY, Spec
from shared.spec.errors import SpecError, raise_all
from shared.spec.family import family, member_names
from shared.spec.lineage import (
    ancestry,
    architecture_of,
    distribution,
    group_edges,
    group_models,
    topological,
)
from shared.spec.models import Architecture, Model
from shared.spec.variants import VARIANTS


def check(spec: Spec) -> None:
    """Raise SpecError or SpecErrors for every mistake that shows without looking anything up."""
    if not spec.models:
        raise SpecError("models", "must have at least one model")
    if len(member_names(spec)) > MANY:
        raise SpecError(
            "models",
            f"make {len(member_names(spec))} with their checkpoints, at most {MANY} are possible",
        )
    raise_all([*_unknown_names(spec)])
    raise_all([*_cycles(spec)])
    raise_all([*_vocabularies(spec), *check_shapes(spec), *_groups(spec), *_controls(spec)])


# ------------------------------------------------------------------------------- names


def _unknown_names(spec: Spec) -> Iterator[SpecError]:
    if spec.tokenizer.train is not None:
        yield from _corpora(spec, "tokenizer.train.corpora", spec.tokenizer.train.corpora)
    for name, model in spec.models.items():
        yield from _names_in_model(spec, f"models.{name}", name)
        origin = "import" if model.import_ else "pretrain" if model.pretrain else "finetune"
        yield from _corpora(spec, f"models.{name}.{origin}.corpora", model.corpora)
    for name, sweep in spec.sweeps.items():
        path = f"sweeps.{name}"
        yield from _models(spec, {f"{path}.at_zero": sweep.at_zero, f"{path}.at_one": sweep.at_one})
        yield from _corpora(spec, f"{path}.evaluate_on", sweep.evaluate_on)
        if sweep.reference is not None:
            yield from _models(spec, {f"{path}.reference": sweep.reference})
    yield from _names_in_dictionaries(spec)
    for name, tracking in spec.tracking.items():
        path = f"tracking.{name}"
        yield from _corpora(spec, f"{path}.corpora", tracking.corpora)
        yield from _missing(
            "dictionary", {f"{path}.dictionary": tracking.dictionary}, spec.dictionaries
        )
    for name, grid in spec.stability.items():
        path = f"stability.{name}"
        yield from _members(spec, {f"{path}.model": grid.model})
        yield from _corpora(spec, f"{path}.corpora", grid.corpora or ())
    if spec.explain is not None and not spec.tracking:
        yield SpecError("explain", "needs a tracking, whose features it explains; there is none")
    elif spec.explain is not None:
        wanted = enumerate(spec.explain.tracking or ())
        paths = {f"explain.tracking.{number}": name for number, name in wanted}
        yield from _missing("tracking", paths, spec.tracking)


def _names_in_model(spec: Spec, path: str, name: str) -> Iterator[SpecError]:
    model = spec.models[name]
    if model.finetune is not None:
        yield from _models(spec, {f"{path}.finetune.parent": model.finetune.parent})
    if model.merge is not None:
        yield from _models(
            spec,
            {
                f"{path}.merge.at_zero": model.merge.at_zero,
                f"{path}.merge.at_one": model.merge.at_one,
            },
        )


def _names_in_dictionaries(spec: Spec) -> Iterator[SpecError]:
    for name, group in spec.dictionaries.items():
        path = f"dictionaries.{name}"
        if group.models != "all":
            yield from _members(
                spec, {f"{path}.models.{i}": model for i, model in enumerate(group.models)}
            )
        if isinstance(group.l1, dict):
            named = {f"{path}.l1.{model}": model for model in group.l1 if model != "default"}
            yield from _members(spec, named)
        yield from _members(
            spec, {f"{path}.import.{model}": model for model in group.import_ or ()}
        )


def _corpora(spec: Spec, path: str, names: Iterable[str]) -> Iterator[SpecError]:
    yield from _missing(
        "corpus", {f"{path}.{number}": name for number, name in enumerate(names)}, spec.corpora
    )


def _models(spec: Spec, names: Mapping[str, str]) -> Iterator[SpecError]:
    yield from _missing("model", names, spec.models)


def _members(spec: Spec, names: Mapping[str, str]) -> Iterator[SpecError]:
    """Errors for names that are neither a model nor a checkpoint."""
    yield from _missing("model", names, member_names(spec))


def _missing(what: str, names: Mapping[str, str], defined: Iterable[str]) -> Iterator[SpecError]:
    """Errors for names, by the path of their field, that are not defined."""
    for path, name in names.items():
        if name not in defined:
            yield SpecError(path, f"there is no {what} {name}; {suggestion(name, defined)}")


def _cycles(spec: Spec) -> Iterator[SpecError]:
    try:
        topological(spec)
    except CycleError as error:
        ring = error.args[1][:-1]
        first = min(range(len(ring)), key=lambda place: [*spec.models].index(ring[place]))
        ring = [*ring[first:], *ring[:first], ring[first]]
        yield SpecError(f"models.{ring[0]}", f"is its own ancestor ({' -> '.join(ring)})")


# ------------------------------------------------------------------------- vocabularies


def _vocabularies(spec: Spec) -> Iterator[SpecError]:
    trained = spec.tokenizer.train.vocab_size if spec.tokenizer.train else None
    declared = spec.tokenizer.vocab_size
    if trained is not None and declared is not None and trained != declared:
        yield SpecError(
            "tokenizer.vocab_size",
            f"must equal tokenizer.train.vocab_size ({trained}), not {declared}",
        )
    vocabulary = trained or declared
    if vocabulary is not None:
        yield from check_vocabulary(spec, vocabulary)


def check_vocabulary(spec: Spec, vocabulary: int) -> Iterator[SpecError]:
    """Errors of models whose declared vocabulary is not the tokenizer's."""
    for name, model in spec.models.items():
        if model.pretrain is None or model.pretrain.architecture.vocab_size is None:
            continue
        declared = model.pretrain.architecture.vocab_size
        if declared != vocabulary:
            yield SpecError(
                f"models.{name}.pretrain.architecture.vocab_size",
                f"must equal the tokenizer's ({vocabulary}), not {declared}",
            )


# ------------------------------------------------------------------------------- shapes

# `context` and `vocab_size` may differ: the first has no tensor, the second is the tokenizer's.
_SHAPE = (
    "hidden",
    "mlp",
    "heads",
    "kv_heads",
    "layers",
    "tied_embeddings",
    "rope_theta",
    "norm_eps",
)


def check_shapes(
    spec: Spec, imported: Mapping[str, Architecture] | None = None
) -> Iterator[SpecError]:
    """Errors of merges, sweeps, trainings and dictionaries that do not fit the models' shapes."""
    merges = {f"models.{n}.merge": m.merge for n, m in spec.models.items() if m.merge}
    sweeps = {f"sweeps.{n}": s for n, s in spec.sweeps.items()}
    for path, pair in {**merges, **sweeps}.items():
        at_zero = architecture_of(spec, pair.at_zero, imported)
        at_one = architecture_of(spec, pair.at_one, imported)
        difference = _difference(at_zero, at_one) if at_zero and at_one else None
        if difference:
            yield SpecError(
                path, f"{pair.at_zero} and {pair.at_one} have different shapes ({difference})"
            )
    for name, model in spec.models.items():
        yield from _block(spec, name, model, architecture_of(spec, name, imported))
    yield from _dictionary_shapes(spec, imported)


def _block(spec: Spec, name: str, model: Model, shape: Architecture | None) -> Iterator[SpecError]:
    """The error of a model trained on blocks longer than its context, reported at its root."""
    members = family(spec)
    ancestors = [spec.models[members[ancestor].model] for ancestor in ancestry(spec, name)]
    roots = [ancestor for ancestor in ancestors if ancestor.pretrain is not None]
    if shape is None or model.training is None or spec.block <= shape.context:
        return
    if model.pretrain is not None or not roots:
        origin = "pretrain.architecture.context" if model.pretrain else "finetune.parent"
        yield SpecError(
            f"models.{name}.{origin}",
            f"has a context of {shape.context} tokens, shorter than the block of {spec.block}",
        )


def _difference(first: Architecture, second: Architecture) -> str | None:
    differences = [
        f"{field} {getattr(first, field)} against {getattr(second, field)}"
        for field in _SHAPE
        if getattr(first, field) != getattr(second, field)
    ]
    return ", ".join(differences) or None


def _dictionary_shapes(
    spec: Spec, imported: Mapping[str, Architecture] | None
) -> Iterator[SpecError]:
    recipes: list[tuple[str, Recipe, tuple[str, ...]]] = [
        *(
            (f"dictionaries.{name}", group, group_models(spec, name))
            for name, group in spec.dictionaries.items()
        ),
        *((f"stability.{name}", grid, (grid.model,)) for name, grid in spec.stability.items()),
    ]
    for path, recipe, models in recipes:
        shapes = {
            model: shape
            for model in models
            if (shape := architecture_of(spec, model, imported)) is not None
        }
        for model, shape in shapes.items():
            if recipe.layer >= shape.layers:
                yield SpecError(
                    f"{path}.layer",
                    f"{recipe.layer} is too high, {model} has the layers 0 to {shape.layers - 1}",
                )
                break
        for model, shape in shapes.items():
            if recipe.context > shape.context:
                yield SpecError(
                    f"{path}.context",
                    f"must be at most the {shape.context} tokens that {model} reads, "
                    f"not {recipe.context}",
                )
                break


# ------------------------------------------------------------- dictionaries and tracking


def _groups(spec: Spec) -> Iterator[SpecError]:
    for name, group in spec.dictionaries.items():
        field = "models" if group.import_ is None else "import"
        for model in group_models(spec, name):
            yield from _has_data(spec, f"dictionaries.{name}.{field}", model)
        without = [m for m in group_models(spec, name) if group.l1_of(m) is None]
        if isinstance(group.l1, dict) and without:
            yield SpecError(
                f"dictionaries.{name}.l1",
                f"has no number for {', '.join(without)} and no default",
            )
        if VARIANTS[group.variant].per == "edge" and not group_edges(spec, name):
            yield SpecError(
                f"dictionaries.{name}.models", f"have no parent and child for a {group.variant}"
            )
    for name, grid in spec.stability.items():
        yield from _has_data(spec, f"stability.{name}.model", grid.model)


def _has_data(spec: Spec, path: str, model: str) -> Iterator[SpecError]:
    if not distribution(spec, model):
        root = next(iter(ancestry(spec, model)))
        yield SpecError(
            path,
            f"{model} has no corpora to train a dictionary on; name its data in "
            f"models.{family(spec)[root].model}.import.corpora",
        )


def _controls(spec: Spec) -> Iterator[SpecError]:
    for name, tracking in spec.tracking.items():
        path, group = f"tracking.{name}", spec.dictionaries[tracking.dictionary]
        if VARIANTS[group.variant].per == "edge":
            yield SpecError(
                f"{path}.dictionary",
                f"{tracking.dictionary} is a {group.variant}, which compares parent and child by "
                "itself",
            )
        wanted = {"seeds": tracking.controls.seeds, "crossed": tracking.controls.crossed}
        for control, enabled in wanted.items():
            if enabled and len(group.seeds) < 2:
                yield SpecError(
                    f"{path}.controls.{control}",
                    f"needs two numbers in dictionaries.{tracking.dictionary}.seeds, "
                    f"not {len(group.seeds)}",
                )
