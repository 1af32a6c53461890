"""Precision and recall of every status on a planted lineage: what the tracking gets right.

    python bench/planted.py --seed 0            # a table
    python bench/planted.py --seed 0 --json     # one line for each of (codes, status)

The parent keeps, drops and adds features, splits some in two or three, evenly or not, and merges
others (bench/support/planted_world.py). Statuses are those of services.analyzer.match at r >= .8:

true     from the true activations of the features on a held-out stream
trained  from two dictionaries, one of each model, trained with services.sae on the activations, a
         random projection of the features into fewer dimensions

A dictionary's feature stands for a true one when each is the other's best by correlation with the
true codes (r >= .5); true features that none stands for count as missed. A persisting feature is
right with its partner only; split and merge are counted on both sides together.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.support.planted_world import Sizes, Truth, World, planted
from services.analyzer.codes.codes import Codes
from services.analyzer.codes.correlate import search
from services.analyzer.match.edge import EdgeMatches
from services.analyzer.match.pairing import edge_of, lowest_floor
from services.analyzer.match.shares import mutual_pairs
from services.sae.start import activation_scale
from services.sae.training.loop import Trainer, start_state
from services.sae.weights import fold_scale
from shared.arrays import Float32Array
from shared.lineage.statuses import alive
from shared.stages.analyzer import MatchParameters
from shared.stages.sae import DictionaryParameters

THRESHOLD, MIN_FIRINGS = 0.8, 10
MATCHING = MatchParameters(threshold=THRESHOLD, min_firings=MIN_FIRINGS)
STANDS_FOR = 0.5  # least r between a dictionary's feature and the true one
BATCH = 512  # vectors of a training step
Marks = dict[str, set[tuple[object, ...]]]  # status -> what has it


@dataclass(frozen=True)
class Setting:
    """Size of a run: held-out and training tokens, and the dictionaries."""

    tokens: int = 100_000
    training: int = 200_000
    steps: int = 1000
    features: int = 192
    variant: str = "batchtopk"
    k: int = 3  # about 115 true features at a density of .02, and a little room
    sizes: Sizes = field(default_factory=Sizes)


@dataclass(frozen=True)
class Score:
    """Precision and recall of one status."""

    codes: str
    status: str
    precision: float
    recall: float
    f1: float


def codes_of(dense_NF: Float32Array) -> Codes:
    """Sparse codes of dense activations."""
    token_Z, feature_Z = np.nonzero(dense_NF)
    starts = np.searchsorted(token_Z, np.arange(len(dense_NF) + 1))
    values = dense_NF[token_Z, feature_Z]
    return Codes(starts, feature_Z.astype(np.int32), values, dense_NF.shape[1])


def trained_codes(
    train_ND: Float32Array, held_ND: Float32Array, setting: Setting, seed: int
) -> Codes:
    """Codes of held-out activations by a dictionary that was trained on others."""
    parameters = _parameters(setting, seed)
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.from_numpy(train_ND)
    scale = activation_scale(x_ND)
    x_ND = x_ND * scale
    state = start_state(parameters, setting.features, x_ND[:4096], generator)
    trainer = Trainer(state, parameters, setting.steps)
    for _ in range(setting.steps):
        trainer.step(x_ND[torch.randint(len(x_ND), (BATCH,), generator=generator)])
    coder = trainer.export()
    dictionary = fold_scale(coder.weights, scale, "mlp_post", 0, coder.threshold_F, coder.k)
    return codes_of(dictionary.encode(torch.from_numpy(held_ND)).numpy())


def _parameters(setting: Setting, seed: int) -> DictionaryParameters:
    sparsity = {"l1": 0.03, "revive": "ghost"}
    if setting.variant in ("topk", "batchtopk"):
        sparsity = {"k": setting.k, "revive": "aux"}
    return DictionaryParameters.model_validate(
        {
            "layer": 0,
            "variant": setting.variant,
            "features": setting.features,
            "learning_rate": 5e-3,
            "learning_rate_decay": 0.2,
            "betas": (0.9, 0.999),
            "tokens": BATCH * setting.steps,
            "context": 1,
            "batch": BATCH,
            "dead_after_steps": 200,
            "seed": seed,
            "replicate": 0,
            **sparsity,
        }
    )


def stands_for(trained: Codes, true: Codes) -> dict[int, int]:
    """The dictionary's feature that stands for each true feature, where one does."""
    pairs = search(trained, true, STANDS_FOR).pairs
    mutual = mutual_pairs(pairs.parent_Z, pairs.child_Z, pairs.r_Z)
    of_true = pairs.child_Z[mutual].tolist()
    return dict(zip(of_true, pairs.parent_Z[mutual].tolist(), strict=True))


def matched(parent: Codes, child: Codes) -> EdgeMatches:
    """The edge of two streams, as the match stage makes it."""
    live = alive(parent.firings, MIN_FIRINGS), alive(child.firings, MIN_FIRINGS)
    partners = search(parent, child, lowest_floor(MATCHING.floor, THRESHOLD), *live)
    return edge_of(parent, child, partners, THRESHOLD, MIN_FIRINGS, MATCHING.parts)


def edge_marks(edge: EdgeMatches, parents: dict[int, int], children: dict[int, int]) -> Marks:
    """The statuses that an edge gives to the true features, by way of those that stand for them."""
    marks: Marks = {name: set() for name in ("persist", "disappear", "emerge", "split", "merge")}
    of_parent, of_child = edge.statuses(THRESHOLD)
    true_child = {own: true for true, own in children.items()}
    for true, own in parents.items():
        status = str(of_parent[own])
        if status == "persist":
            marks["persist"].add((true, true_child.get(int(edge.parent.partner_F[own]))))
        elif status != "rare":
            marks[status].add(("parent", true))
    for true, own in children.items():
        status = str(of_child[own])
        if status not in ("persist", "rare"):
            marks[status].add(("child", true))
    return marks


def planted_marks(truth: Truth) -> Marks:
    """The true statuses."""
    marks: Marks = {"persist": set(truth.pairs)}
    for status in ("disappear", "emerge", "split", "merge"):
        marks[status] = {
            (side, number)
            for side, statuses in (("parent", truth.parent), ("child", truth.child))
            for number, other in enumerate(statuses)
            if other == status
        }
    return marks


def scores(codes: str, marks: Marks, truth: Marks) -> list[Score]:
    """Precision, recall and their harmonic mean; without a mark, precision is 1."""
    rows = []
    for status, right in truth.items():
        hits = len(marks[status] & right)
        precision = hits / len(marks[status]) if marks[status] else 1.0
        recall = hits / len(right) if right else 1.0
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        rows.append(Score(codes, status, precision, recall, f1))
    return rows


def run(seed: int, setting: Setting, trained: bool = True) -> list[Score]:
    """Scores of every status with the true codes and, if `trained`, with trained dictionaries."""
    rng = np.random.default_rng(seed)
    world = planted(setting.sizes, rng)
    held_NQ, _ = world.draw(rng, setting.tokens)
    parent, child = (codes_of(dense) for dense in world.codes(held_NQ))
    truth = planted_marks(world.truth)
    edge = matched(parent, child)
    itself = [{number: number for number in range(side.width)} for side in (parent, child)]
    rows = scores("true", edge_marks(edge, *itself), truth)
    if trained:
        rows += _with_dictionaries(world, held_NQ, (parent, child), setting, seed, truth)
    return rows


def _with_dictionaries(
    world: World,
    held_NQ: Float32Array,
    true: tuple[Codes, Codes],
    setting: Setting,
    seed: int,
    truth: Marks,
) -> list[Score]:
    train_NQ, _ = world.draw(np.random.default_rng([seed, 1]), setting.training)
    sides = zip(world.activations(train_NQ), world.activations(held_NQ), strict=True)
    codes = [
        # Dictionaries of their own seeds: nothing may be shared but the stream.
        trained_codes(train_ND, held_ND, setting, 2 * seed + number)
        for number, (train_ND, held_ND) in enumerate(sides)
    ]
    edge = matched(codes[0], codes[1])
    parents, children = (stands_for(*pair) for pair in zip(codes, true, strict=True))
    return scores("trained", edge_marks(edge, parents, children), truth)


def main() -> None:
    """Print scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON line per codes and status")
    parser.add_argument("--variant", choices=("relu", "topk", "batchtopk"), default="batchtopk")
    parser.add_argument("--tokens", type=int, default=Setting.tokens)
    parser.add_argument("--steps", type=int, default=Setting.steps)
    arguments = parser.parse_args()
    setting = Setting(tokens=arguments.tokens, steps=arguments.steps, variant=arguments.variant)
    torch.set_num_threads(1)  # matrices this small only lose time to a second thread
    rows = run(arguments.seed, setting)
    for row in rows:
        if arguments.json:
            figures = {name: round(getattr(row, name), 4) for name in ("precision", "recall", "f1")}
            line = {"seed": arguments.seed, "codes": row.codes, "status": row.status, **figures}
            print(json.dumps(line), flush=True)
        else:
            print(
                f"{row.codes:8} {row.status:10} precision {row.precision:.3f}  "
                f"recall {row.recall:.3f}  f1 {row.f1:.3f}"
            )


if __name__ == "__main__":
    main()
