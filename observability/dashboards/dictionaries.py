"""Dictionaries in training, and the analysis of finished ones."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from observability.dashboards.panels import curves, mean, new_dashboard, row

WHO = "{{kind}} {{instance}}"
OF_SAE = 'lineament_stage_progress_ratio{service="sae"}'


def dashboard() -> Dashboard:
    """The dashboard."""
    text = "Dictionaries in training, and the analysis of finished dictionaries."
    board = new_dashboard("dictionaries", "Dictionaries", text)
    _quality(board)
    _speed(board)
    _analysis(board)
    return board


def _quality(board: Dashboard) -> None:
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
        curves("L0", "Active features per token.", ("lineament_dictionary_l0", WHO)),
        curves(
            "Dead features",
            "Share of the features that have not fired for a long time.",
            ("lineament_dictionary_dead_ratio", WHO),
            unit="percentunit",
        ),
        curves("Loss", "Of the first dictionary.", ("lineament_dictionary_loss", WHO)),
    ):
        board.with_panel(panel)


def _speed(board: Dashboard) -> None:
    board.with_row(row("Speed"))
    for panel in (
        curves(
            "Vectors a second",
            "Mean over the attempt.",
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
        board.with_panel(panel)


def _analysis(board: Dashboard) -> None:
    board.with_row(row("Analysis"))
    for panel in (
        curves(
            "Feature pairs a second",
            "Pairs correlated by the stages that match features.",
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
        board.with_panel(panel)
