"""The object store, as its users see it, and the disks."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from observability.dashboards.panels import curves, new_dashboard, number, quantile, row

REQUESTS = "lineament_store_requests_total"
SECONDS = "lineament_store_request_seconds"


def dashboard() -> Dashboard:
    """The dashboard."""
    board = new_dashboard(
        "store", "Store", "Requests to the object store, what it holds, and disks."
    )
    _numbers(board)
    _requests(board)
    _space(board)
    return board


def _numbers(board: Dashboard) -> None:
    for panel in (
        number(
            "Held",
            "Bytes in the store.",
            "sum(max by (area) (lineament_store_held_bytes))",
            "bytes",
            width=6,
        ),
        number(
            "Objects",
            "Number of objects in the store.",
            "sum(max by (area) (lineament_store_held_objects))",
            width=6,
        ),
        number(
            "Errors in an hour",
            "Requests that failed.",
            f'sum(increase({REQUESTS}{{outcome="error"}}[1h]))',
            width=6,
        ),
        number(
            "Checkpoints in an hour",
            "Checkpoints that were stored.",
            "sum(increase(lineament_checkpoints_total[1h]))",
            width=6,
        ),
    ):
        board.with_panel(panel)


def _requests(board: Dashboard) -> None:
    board.with_row(row("Requests"))
    for panel in (
        curves(
            "Rate",
            "By verb.",
            (f"sum by (verb) (rate({REQUESTS}[$__rate_interval]))", "{{verb}}"),
            unit="reqps",
        ),
        curves(
            "Time",
            "95th percentile by verb.",
            (quantile(0.95, SECONDS, "verb"), "{{verb}}"),
            unit="s",
        ),
        curves(
            "Errors",
            "By the process that asked, and verb.",
            (
                f'sum by (job, verb) (rate({REQUESTS}{{outcome="error"}}[$__rate_interval]))',
                "{{job}} {{verb}}",
            ),
            unit="reqps",
        ),
        curves(
            "Bytes",
            "Read and written, by the process that asked.",
            (
                "sum by (job, direction) "
                "(rate(lineament_store_transferred_bytes_total[$__rate_interval]))",
                "{{job}} {{direction}}",
            ),
            unit="Bps",
        ),
    ):
        board.with_panel(panel)


def _space(board: Dashboard) -> None:
    board.with_row(row("Space"))
    for panel in (
        curves(
            "Held by area",
            "Stages are artifacts, checkpoints and logs; `lineament gc` lists what nothing needs.",
            ("max by (area) (lineament_store_held_bytes)", "{{area}}"),
            unit="bytes",
            width=8,
        ),
        curves(
            "Free disk of processes",
            "Share of the file system of LINEAMENT_DATA: work, caches, a local store.",
            ("lineament_disk_free_bytes / lineament_disk_size_bytes", "{{job}} {{instance}}"),
            unit="percentunit",
            width=8,
        ),
        curves(
            "Free space of the store",
            "Where MinIO reports it.",
            (
                "sum(minio_cluster_capacity_usable_free_bytes) "
                "/ sum(minio_cluster_capacity_usable_total_bytes)",
                "free",
            ),
            unit="percentunit",
            width=8,
        ),
    ):
        board.with_panel(panel)
