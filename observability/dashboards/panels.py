"""What the dashboards are made of: a few kinds of panels in one style.

A query is an expression of PromQL and the legend of its series.
"""

from __future__ import annotations

import json

from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

Query = tuple[str, str]

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
WIDTH = 24  # of a row, in Grafana's units
TAG = "lineament"


def new_dashboard(name: str, title: str, text: str) -> Dashboard:
    """An empty dashboard with links to the others."""
    others = (
        DashboardLink("Lineament")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .keep_time(True)
    )
    return (
        Dashboard(f"Lineament / {title}")
        .uid(f"lineament-{name}")
        .description(text)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .link(others)
    )


def row(title: str) -> Row:
    """The heading of a group of panels."""
    return Row(title)


def number(title: str, text: str, query: str, unit: str = "short", width: int = 4) -> Stat:
    """One current number."""
    return (
        Stat()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .unit(unit)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(Dataquery().expr(query).instant().ref_id("A"))
        .height(4)
        .span(width)
    )


def curves(
    title: str, text: str, *queries: Query, unit: str = "short", width: int = 12
) -> Timeseries:
    """Values over time. Points are shown: a stage may be shorter than two scrapes."""
    panel = (
        Timeseries()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .unit(unit)
        .line_width(1)
        .fill_opacity(8)
        .show_points(VisibilityMode.AUTO)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .height(8)
        .span(width)
    )
    for place, (expression, legend) in enumerate(queries):
        query = Dataquery().expr(expression).legend_format(legend).range()
        panel = panel.with_target(query.ref_id(chr(ord("A") + place)))
    return panel


def quantile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """The quantile of a histogram over the window of the panel, by a label if one is given.

    `where` selects series by label matchers, without the braces.
    """
    labels = f"le, {by}" if by else "le"
    series = f"{histogram}_bucket{{{where}}}" if where else f"{histogram}_bucket"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({series}[$__rate_interval])))"


def mean(histogram: str, by: str) -> str:
    """The mean of a histogram over the window of the panel."""
    parts = (
        f"sum by ({by}) (rate({histogram}_{part}[$__rate_interval]))" for part in ("sum", "count")
    )
    return " / ".join(parts)


def text_of(board: Dashboard) -> str:
    """The JSON that Grafana reads, the same bytes every time."""
    built = board.build()
    for place, panel in enumerate(built.panels or [], start=1):
        panel.id_val = place
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
