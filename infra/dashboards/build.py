"""From what a dashboard shows to the JSON that Grafana reads."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef

DATASOURCE = "maia-prometheus"
"""The uid that ``templates/grafana/datasources.yml.j2`` gives to Prometheus."""


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    queries: tuple[Query, ...]
    unit: str
    """Grafana's name of the unit."""
    about: str = ""
    number: bool = False
    """Whether it is one number instead of a graph."""
    top: float | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    uid: str
    title: str
    panels: tuple[Panel, ...]


def build(board: Board) -> str:
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .tags(["maia"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .readonly()
    )
    for panel in board.panels:
        builder = builder.with_panel(_number(panel) if panel.number else _graph(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(builder.build()) + "\n"


def _queries(panel: Panel) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + index))
        for index, query in enumerate(panel.queries)
    ]


def _source() -> DataSourceRef:
    return DataSourceRef(type_val="prometheus", uid=DATASOURCE)


def _graph(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.about)
        .datasource(_source())
        .unit(panel.unit)
        .min(0)
        .line_width(1.5)
        .fill_opacity(8)
        .span(12)
        .height(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(any(query.legend for query in panel.queries))
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if panel.top is not None:
        built = built.max(panel.top)
    for query in _queries(panel):
        built = built.with_target(query)
    return built


def _number(panel: Panel) -> stat.Panel:
    built = (
        stat.Panel()
        .title(panel.title)
        .description(panel.about)
        .datasource(_source())
        .unit(panel.unit)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .span(6)
        .height(4)
    )
    for query in _queries(panel):
        built = built.with_target(query)
    return built
