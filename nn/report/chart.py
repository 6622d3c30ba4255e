"""A chart: plotly's own description of it, and what the page says beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nn.report.formatting import truncate
from nn.report.markup import Markup, element
from nn.report.palette import ThemeColor, theme_color
from nn.report.paths import shorten_paths

Trace = dict[str, Any]


@dataclass(frozen=True)
class View:
    """Another look at a chart: what changes in each trace, and in the layout."""

    name: str
    traces: Sequence[Mapping[str, Any]] = ()
    layout: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A chart on a page; `says` is for those who cannot see it."""

    name: str
    title: str
    alt_text: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any] = field(default_factory=dict)
    height: int = 300
    legend: Sequence[tuple[str, str]] = ()
    views: Sequence[View] = ()
    extra_data: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None

    def to_html(self) -> Markup:
        """Give the figure's HTML, with the chart as data beside it."""
        described = {
            "traces": self.traces,
            "layout": self.layout,
            "views": [vars(view) for view in self.views],
            **self.extra_data,
        }
        tall = f"height:{self.height}px"
        return element(
            "figure",
            element(
                "figcaption",
                element("span", self.title, class_="title"),
                [_legend_entry(*key) for key in self.legend],
                _view_buttons(self.views),
            ),
            element("div", class_="plot", role="img", aria_label=self.alt_text, style=tall),
            json_script(described, class_="chart-data"),
            self.note and element("p", self.note, class_="note"),
            class_="chart",
            id=f"chart-{self.name}",
        )


def json_script(content: Any, **attributes: Any) -> Markup:
    """Put data into a page, where no part of it can end the element that it stands in."""
    text = shorten_paths(json.dumps(content, allow_nan=False, separators=(",", ":")))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return element("script", Markup(safe), type="application/json", **attributes)


def escape_label(text: Any, max_length: int = 60) -> str:
    """Write a text so that plotly shows it as it is; it takes some HTML for its own."""
    return html.escape(truncate(str(text), max_length), quote=False)


def line_trace(
    name: str,
    x: Sequence[Any],
    y: Sequence[Any],
    color: ThemeColor,
    hover_format: str = "%{y:.4f}",
    **options: Any,
) -> Trace:
    """Draw a curve."""
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": color, "width": 2, **options.pop("line", {})},
        "marker": {"color": color, "size": 7},
        "hovertemplate": f"{hover_format}<extra>{escape_label(name)}</extra>",
        **options,
    }


def vline_shape(x: float, layer: str) -> dict[str, Any]:
    """Draw a dotted upright line through a chart, below or above its traces."""
    stroke = {"color": theme_color("muted"), "width": 1.5, "dash": "dot"}
    across = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "x0": x, "x1": x, "line": stroke, "layer": layer, **across}


def vline_layout(x: float, text: str) -> dict[str, Any]:
    """Draw a dotted upright line through a chart, with a word at its head."""
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
        element("button", view.name, type="button", aria_pressed="false" if place else "true")
        for place, view in enumerate(views)
    ]
    return element("span", buttons, class_="switch", role="group", aria_label="Show")
