"""Gauges for the scalars that stages report with their progress."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge


@dataclass(frozen=True)
class Shown:
    """Where a scalar is shown: the gauge, and the value of its label `side`, if it has one."""

    name: str
    side: str | None = None


VARIANCE = "lineament_dictionary_explained_variance_ratio"
MEANINGS = {
    "lineament_training_loss": "Cross-entropy, nats a token.",
    "lineament_training_learning_rate": "Learning rate of the last step.",
    "lineament_training_gradient_norm": "Norm of the gradient before clipping.",
    "lineament_training_tokens_per_second": "Tokens a second, mean of the attempt.",
    "lineament_training_mfu_ratio": "Model FLOPs used, as a share of the device's peak.",
    "lineament_dictionary_loss": "Loss of the first dictionary of the stage.",
    "lineament_dictionary_l0": "Features active a token.",
    "lineament_dictionary_dead_ratio": "Share of features that have not fired for long.",
    VARIANCE: "Explained variance.",
    "lineament_dictionary_vectors_per_second": "Vectors a second, mean of the attempt.",
    "lineament_analysis_pairs_per_second": "Feature pairs a second, mean of the pass.",
}
# The gauge of a scalar, by the name its service reports it under. Other scalars have no gauge; they
# are for people who watch the stage.
SCALARS = {
    "trainer": {
        "loss": Shown("lineament_training_loss"),
        "learning_rate": Shown("lineament_training_learning_rate"),
        "gradient_norm": Shown("lineament_training_gradient_norm"),
        "tokens_per_second": Shown("lineament_training_tokens_per_second"),
        "mfu": Shown("lineament_training_mfu_ratio"),
    },
    "sae": {
        "loss": Shown("lineament_dictionary_loss"),
        "l0": Shown("lineament_dictionary_l0"),
        "dead_share": Shown("lineament_dictionary_dead_ratio"),
        "explained_variance": Shown(VARIANCE, "one"),
        "explained_variance_parent": Shown(VARIANCE, "parent"),
        "explained_variance_child": Shown(VARIANCE, "child"),
        "vectors_per_second": Shown("lineament_dictionary_vectors_per_second"),
    },
    "analyzer": {"pairs_per_second": Shown("lineament_analysis_pairs_per_second")},
}


class ScalarGauges:
    """The current scalars of the stage that runs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        sided = {
            shown.name for scalars in SCALARS.values() for shown in scalars.values() if shown.side
        }
        self._gauges = {
            name: Gauge(
                name, text, ("kind", "side") if name in sided else ("kind",), registry=registry
            )
            for name, text in MEANINGS.items()
        }

    def show(self, service: str, kind: str, scalar: str, value: float) -> None:
        """Set the gauge of a scalar, if it has one."""
        shown = SCALARS.get(service, {}).get(scalar)
        if shown is not None:
            labels = (kind,) if shown.side is None else (kind, shown.side)
            self._gauges[shown.name].labels(*labels).set(value)

    def clear(self) -> None:
        """Remove all values."""
        for gauge in self._gauges.values():
            gauge.clear()
