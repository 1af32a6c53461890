"""Dictionaries in training, and what compares them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from observability.dashboards.panels import board, curves, mean, row

WHO = "{{kind}} {{instance}}"
OF_SAE = 'lineament_stage_progress_ratio{service="sae"}'


def dashboard() -> Dashboard:
    """The dashboard."""
    text = "The dictionaries that are trained now, and the analysis of finished ones."
    one = board("dictionaries", "Dictionaries", text)
    _quality(one)
    _speed(one)
    _analysis(one)
    return one


def _quality(one: Dashboard) -> None:
    for panel in (
        curves(
            "Explained variance",
            "Of the last batch; a crosscoder has one for each of its two models.",
            (
                "lineament_dictionary_explained_variance_ratio",
                "{{kind}} {{side}} {{instance}}",
            ),
            unit="percentunit",
        ),
        curves("L0", "Features active a token.", ("lineament_dictionary_l0", WHO)),
        curves(
            "Dead features",
            "Share that has not fired for long.",
            ("lineament_dictionary_dead_ratio", WHO),
            unit="percentunit",
        ),
        curves("Loss", "Of the first dictionary.", ("lineament_dictionary_loss", WHO)),
    ):
        one.with_panel(panel)


def _speed(one: Dashboard) -> None:
    one.with_row(row("Speed"))
    for panel in (
        curves(
            "Vectors a second",
            "Mean of the attempt.",
            ("lineament_dictionary_vectors_per_second", WHO),
            width=8,
        ),
        curves("Progress", "Share that is done.", (OF_SAE, WHO), unit="percentunit", width=8),
        curves(
            "Age of the checkpoint",
            "What a crash would repeat.",
            ('lineament_checkpoint_age_seconds{service="sae"}', WHO),
            ("max(lineament_checkpoint_interval_seconds)", "interval"),
            unit="s",
            width=8,
        ),
    ):
        one.with_panel(panel)


def _analysis(one: Dashboard) -> None:
    one.with_row(row("Analysis"))
    for panel in (
        curves(
            "Feature pairs a second",
            "Correlated by the stages that match features.",
            ("lineament_analysis_pairs_per_second", WHO),
        ),
        curves(
            "Time of attempts",
            "Mean by kind, of dictionaries and analysis.",
            (
                mean("lineament_stage_seconds", "service, kind"),
                "{{service}} {{kind}}",
            ),
            unit="s",
        ),
    ):
        one.with_panel(panel)
