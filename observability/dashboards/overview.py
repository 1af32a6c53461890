"""The dashboard that an operator looks at first."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from observability.dashboards.panels import curves, new_dashboard, number, quantile, row

FIRING = 'count(ALERTS{alertname=~"Lineament.+", alertstate="firing"}) or vector(0)'
HTTP = "lineament_http_request_duration_highr_seconds"


def dashboard() -> Dashboard:
    """The dashboard."""
    board = new_dashboard(
        "overview", "Overview", "What is up, what runs, what waits and what failed."
    )
    _numbers(board)
    _work(board)
    _api(board)
    _machines(board)
    return board


def _numbers(board: Dashboard) -> None:
    for panel in (
        number("Alerts", "Alerts that are firing.", FIRING),
        number(
            "Processes that answer",
            "Share of API, reconcilers and workers that Prometheus reaches.",
            'avg(up{job=~"lineament-.+"})',
            "percentunit",
        ),
        number(
            "Open experiments",
            "Neither complete nor cancelled; failed ones are among them.",
            'max(lineament_experiments{state="open"})',
        ),
        number(
            "Complete experiments",
            "All stages are done.",
            'max(lineament_experiments{state="complete"})',
        ),
        number(
            "Stages running",
            "Stages whose lease a worker holds.",
            "sum(max by (service) (lineament_stages_leased))",
        ),
        number(
            "Stages waiting",
            "Stages that have all their inputs and that no worker has taken.",
            "sum(max by (service) (lineament_queue_depth))",
        ),
    ):
        board.with_panel(panel)


def _work(board: Dashboard) -> None:
    board.with_row(row("Work"))
    for panel in (
        curves(
            "Running and waiting",
            "By service. Autoscaling follows the sum of both.",
            ("max by (service) (lineament_stages_leased)", "{{service}} running"),
            ("max by (service) (lineament_queue_depth)", "{{service}} waiting"),
        ),
        curves(
            "Attempts that ended",
            "committed is good; left were asked to stop; look into the others if they persist.",
            (
                "sum by (ending) (increase(lineament_attempts_total[$__rate_interval]))",
                "{{ending}}",
            ),
        ),
        curves(
            "Progress of running stages",
            "Share that is done.",
            ("lineament_stage_progress_ratio", "{{kind}} {{instance}}"),
            unit="percentunit",
        ),
        curves(
            "Stages that failed for good",
            "By cause: not_finite, out_of_memory, refused, attempts.",
            (
                "sum by (kind, cause) (lineament_stage_failures_total) > 0 or vector(0)",
                "{{kind}} {{cause}}",
            ),
        ),
    ):
        board.with_panel(panel)


def _api(board: Dashboard) -> None:
    board.with_row(row("API"))
    for panel in (
        curves(
            "Requests",
            "By class of status.",
            (
                "sum by (status) (rate(lineament_http_requests_total[$__rate_interval]))",
                "{{status}}",
            ),
            unit="reqps",
            width=8,
        ),
        curves(
            "Time to the first byte",
            "Over all routes.",
            (quantile(0.5, HTTP), "half"),
            (quantile(0.95, HTTP), "95 %"),
            (quantile(0.99, HTTP), "99 %"),
            unit="s",
            width=8,
        ),
        curves(
            "Server errors",
            "Share of answers that are 5xx.",
            (
                '(sum(rate(lineament_http_requests_total{status="5xx"}[$__rate_interval])) '
                "or vector(0)) / sum(rate(lineament_http_requests_total[$__rate_interval]))",
                "5xx",
            ),
            unit="percentunit",
            width=8,
        ),
    ):
        board.with_panel(panel)


def _machines(board: Dashboard) -> None:
    board.with_row(row("Machines"))
    for panel in (
        curves(
            "Memory of processes",
            "Resident, without the stage processes of workers.",
            ("sum by (job) (process_resident_memory_bytes)", "{{job}}"),
            unit="bytes",
            width=8,
        ),
        curves(
            "Free disk",
            "Share of the file system of LINEAMENT_DATA.",
            ("lineament_disk_free_bytes / lineament_disk_size_bytes", "{{job}} {{instance}}"),
            unit="percentunit",
            width=8,
        ),
        curves(
            "GPUs",
            "Use of each, where DCGM reports it.",
            ("DCGM_FI_DEV_GPU_UTIL", "{{instance}} {{gpu}}"),
            unit="percent",
            width=8,
        ),
    ):
        board.with_panel(panel)
