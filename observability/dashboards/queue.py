"""What waits, who works, and how attempts end."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from observability.dashboards.panels import curves, mean, new_dashboard, quantile, row

WAIT = "lineament_queue_wait_seconds"
PASS = "lineament_reconciler_pass_seconds"  # noqa: S105  (a metric)
WHO = "{{service}} {{kind}}"


def dashboard() -> Dashboard:
    """The dashboard."""
    board = new_dashboard("queue", "Queue and workers", "What waits, who works, how attempts end.")
    _queue(board)
    _workers(board)
    _attempts(board)
    _reconciler(board)
    return board


def _queue(board: Dashboard) -> None:
    for panel in (
        curves(
            "Waiting",
            "Stages that have all their inputs and that no worker has taken.",
            ("max by (service) (lineament_queue_depth)", "{{service}}"),
            width=8,
        ),
        curves(
            "The oldest of them",
            "How long the oldest waiting stage has waited.",
            ("max by (service) (lineament_queue_oldest_seconds)", "{{service}}"),
            unit="s",
            width=8,
        ),
        curves(
            "Wait",
            "How long stages had waited when a worker took them.",
            (quantile(0.5, WAIT, "service"), "{{service}} half"),
            (quantile(0.95, WAIT, "service"), "{{service}} 95 %"),
            unit="s",
            width=8,
        ),
    ):
        board.with_panel(panel)


def _workers(board: Dashboard) -> None:
    board.with_row(row("Workers"))
    for panel in (
        curves(
            "Busy and idle",
            "Workers by the queue they serve; one that serves several counts in each.",
            ("sum by (service) (lineament_worker_busy)", "{{service}} busy"),
            ("sum by (service) (1 - lineament_worker_busy)", "{{service}} idle"),
            width=8,
        ),
        curves(
            "Running by kind",
            "Stages that run now.",
            ("sum by (service, kind) (lineament_stages_running)", WHO),
            width=8,
        ),
        curves(
            "Silence and leases",
            "Time since running stages wrote something, and since their leases were renewed.",
            ("max by (kind) (lineament_stage_silence_seconds)", "{{kind}} silent"),
            ("max by (kind) (lineament_lease_renewal_age_seconds)", "{{kind}} lease"),
            unit="s",
            width=8,
        ),
    ):
        board.with_panel(panel)


def _attempts(board: Dashboard) -> None:
    board.with_row(row("Attempts"))
    for panel in (
        curves(
            "Endings",
            "Attempts by how they ended.",
            (
                "sum by (service, ending) (increase(lineament_attempts_total[$__rate_interval]))",
                "{{service}} {{ending}}",
            ),
        ),
        curves(
            "Time by kind",
            "Mean time of an attempt.",
            (mean("lineament_stage_seconds", "kind"), "{{kind}}"),
            unit="s",
        ),
        curves(
            "Taken up again",
            "Attempts that resumed from a checkpoint, and those whose worker vanished.",
            ("sum by (service) (lineament_resumes_total)", "{{service}} from a checkpoint"),
            ("sum by (service) (lineament_leases_expired_total)", "{{service}} lease expired"),
            width=8,
        ),
        curves(
            "Number of the attempt",
            "Of the running stages; more than three or four are worth a look.",
            ("max by (service, kind) (lineament_stage_attempt_number)", WHO),
            width=8,
        ),
        curves(
            "Failed for good",
            "By cause.",
            ("sum by (kind, cause) (lineament_stage_failures_total)", "{{kind}} {{cause}}"),
            width=8,
        ),
    ):
        board.with_panel(panel)


def _reconciler(board: Dashboard) -> None:
    board.with_row(row("Reconciler and Redis"))
    for panel in (
        curves(
            "A look around",
            "How long a pass of the reconciler takes.",
            (quantile(0.5, PASS), "half"),
            (quantile(0.95, PASS), "95 %"),
            unit="s",
            width=8,
        ),
        curves(
            "Messages and errors",
            "Doorbells by service, those that workers left to another release, and passes of the "
            "reconciler that failed for want of store or Redis.",
            (
                "sum by (service) (rate(lineament_doorbells_total[$__rate_interval]))",
                "{{service}}",
            ),
            (
                "sum by (cause) (rate(lineament_stages_declined_total[$__rate_interval]))",
                "left to another release: {{cause}}",
            ),
            ("sum(rate(lineament_reconciler_errors_total[$__rate_interval]))", "errors"),
            unit="cps",
            width=8,
        ),
        curves(
            "Redis",
            "Memory in use, where its exporter runs.",
            ("redis_memory_used_bytes", "{{instance}}"),
            unit="bytes",
            width=8,
        ),
    ):
        board.with_panel(panel)
