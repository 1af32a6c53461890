"""Language models in training."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from observability.dashboards.panels import curves, new_dashboard, quantile, row

WHO = "{{kind}} {{instance}}"


def dashboard() -> Dashboard:
    """The dashboard."""
    board = new_dashboard(
        "training", "Training", "Models in training; their full curves are artifacts."
    )
    _curves(board)
    _speed(board)
    _safety(board)
    _gpus(board)
    return board


def _curves(board: Dashboard) -> None:
    for panel in (
        curves(
            "Loss",
            "Cross-entropy in nats a token, mean of the last steps.",
            ('lineament_training_loss{kind="train"}', WHO),
        ),
        curves(
            "Gradient norm",
            "Before clipping. Growth before a jump of the loss asks for a lower learning rate.",
            ("lineament_training_gradient_norm", WHO),
        ),
        curves(
            "Learning rate",
            "Of the last step.",
            ("lineament_training_learning_rate", WHO),
            unit="sci",
        ),
        curves(
            "Progress",
            "Share of the steps that is done.",
            ('lineament_stage_progress_ratio{service="trainer"}', WHO),
            unit="percentunit",
        ),
    ):
        board.with_panel(panel)


def _speed(board: Dashboard) -> None:
    board.with_row(row("Speed"))
    for panel in (
        curves(
            "Tokens a second",
            "Mean over the attempt; the kind tokens is packing, not training.",
            ("lineament_training_tokens_per_second", WHO),
            width=8,
        ),
        curves(
            "MFU",
            "Model FLOPs used: 6 N + 12 L H T a token, as a share of the device's peak.",
            ("lineament_training_mfu_ratio", WHO),
            unit="percentunit",
            width=8,
        ),
        curves(
            "Time of attempts",
            "Stages of the trainer by kind.",
            (
                quantile(0.5, "lineament_stage_seconds", "kind", 'service="trainer"'),
                "{{kind}}",
            ),
            unit="s",
            width=8,
        ),
    ):
        board.with_panel(panel)


def _safety(board: Dashboard) -> None:
    board.with_row(row("Safety"))
    for panel in (
        curves(
            "Age of the checkpoint",
            "What a crash would repeat; the line is the configured interval.",
            ('lineament_checkpoint_age_seconds{service="trainer"}', WHO),
            ("max(lineament_checkpoint_interval_seconds)", "interval"),
            unit="s",
        ),
        curves(
            "Losses that were not finite",
            "Stages that failed because of one.",
            (
                'sum by (kind) (lineament_stage_failures_total{cause="not_finite"})',
                "{{kind}}",
            ),
        ),
    ):
        board.with_panel(panel)


def _gpus(board: Dashboard) -> None:
    board.with_row(row("GPUs, where DCGM reports them"))
    for title, text, expression, unit in (
        ("Use", "Share of time in which a kernel ran.", "DCGM_FI_DEV_GPU_UTIL", "percent"),
        (
            "Memory",
            "Framebuffer in use.",
            "DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)",
            "percentunit",
        ),
        ("Power", "Draw of each.", "DCGM_FI_DEV_POWER_USAGE", "watt"),
    ):
        query = (expression, "{{instance}} {{gpu}}")
        board.with_panel(curves(title, text, query, unit=unit, width=8))
