"""Charts: Plotly traces and layout with title, legend, alternative views and alt text."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeAlias

from nn.report.formatting import truncate
from nn.report.markup import Markup, element
from nn.report.palette import ThemeColor, theme_color
from nn.report.paths import shorten_paths

PlotlyValue: TypeAlias = (
    "bool | int | float | str | Sequence[PlotlyValue] | Mapping[str, PlotlyValue] | None"
)
Trace: TypeAlias = dict[str, PlotlyValue]
Layout: TypeAlias = dict[str, PlotlyValue]


@dataclass(frozen=True)
class View:
    """An alternative view of a chart: updates to each trace and to the layout."""

    name: str
    traces: Sequence[Trace] = ()
    layout: Layout = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A chart on a page; `alt_text` is its description for screen readers."""

    name: str
    title: str
    alt_text: str
    traces: Sequence[Trace]
    layout: Layout = field(default_factory=dict)
    height: int = 300
    _: KW_ONLY
    legend: Sequence[tuple[str, str]] = ()  # color role, text
    views: Sequence[View] = ()
    extra_data: Mapping[str, PlotlyValue] = field(default_factory=dict)
    note: str | None = None

    def to_html(self) -> Markup:
        """Render a figure element with the chart as embedded JSON, which charts.js draws."""
        content = {
            "traces": self.traces,
            "layout": self.layout,
            "views": [vars(view) for view in self.views],
            **self.extra_data,
        }
        return element(
            "figure",
            element(
                "figcaption",
                element("span", self.title, class_="title"),
                [_legend_entry(color, text) for color, text in self.legend],
                _view_buttons(self.views),
            ),
            element(
                "div",
                class_="plot",
                role="img",
                aria_label=self.alt_text,
                style=f"height:{self.height}px",
            ),
            json_script(content, class_="chart-data"),
            self.note and element("p", self.note, class_="note"),
            class_="chart",
            id=f"chart-{self.name}",
        )


def json_script(content: PlotlyValue, **attributes: str) -> Markup:
    """Embed JSON in a script element, escaped so that no string can close the element."""
    text = shorten_paths(json.dumps(content, allow_nan=False, separators=(",", ":")))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return element("script", Markup(safe), type="application/json", **attributes)


def escape_label(text: object, max_length: int = 60) -> str:
    """Escape a text for Plotly, which interprets some HTML tags in labels."""
    return html.escape(truncate(str(text), max_length), quote=False)


def line_trace(
    name: str,
    x: Sequence[PlotlyValue],
    y: Sequence[PlotlyValue],
    color: ThemeColor,
    hover_format: str = "%{y:.4f}",
    line: Mapping[str, PlotlyValue] | None = None,
    **options: PlotlyValue,
) -> Trace:
    """Build a line trace, with a marker in place of the line for a single point."""
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": color, "width": 2, **(line or {})},
        "marker": {"color": color, "size": 7},
        "hovertemplate": f"{hover_format}<extra>{escape_label(name)}</extra>",
        **options,
    }


def vline_shape(x: float, layer: str) -> Layout:
    """Build a dotted vertical line `below` or `above` the traces."""
    stroke: Layout = {"color": theme_color("muted"), "width": 1.5, "dash": "dot"}
    across: Layout = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "x0": x, "x1": x, "line": stroke, "layer": layer, **across}


def vline_layout(x: float, text: str) -> Layout:
    """Build the layout of a dotted vertical line with a label at its top."""
    return {
        "shapes": [vline_shape(x, "below")],
        "annotations": [
            {"x": x, "y": 1, "yref": "paper", "text": text, "showarrow": False, "yanchor": "bottom"}
        ],
        "margin": {"t": 22},
    }


def _legend_entry(color_name: str, text: str) -> Markup:
    swatch = element("i", style=f"--swatch:var(--{color_name})")
    return element("span", swatch, text, class_="key")


def _view_buttons(views: Sequence[View]) -> Markup | None:
    if not views:
        return None
    buttons = [
        element("button", view.name, type="button", aria_pressed="false" if index else "true")
        for index, view in enumerate(views)
    ]
    return element("span", buttons, class_="switch", role="group", aria_label="Show")
