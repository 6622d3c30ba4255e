"""A chart: plotly's own description of it, and what the page says beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nn.report.formatting import clipped
from nn.report.markup import Markup, element
from nn.report.palette import Colour, colour
from nn.report.paths import shorten

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
    says: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any] = field(default_factory=dict)
    height: int = 300
    keys: Sequence[tuple[str, str]] = ()
    views: Sequence[View] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None

    def markup(self) -> Markup:
        """Give the figure's HTML, with the chart as data beside it."""
        described = {
            "traces": self.traces,
            "layout": self.layout,
            "views": [vars(view) for view in self.views],
            **self.more,
        }
        tall = f"height:{self.height}px"
        return element(
            "figure",
            element(
                "figcaption",
                element("span", self.title, class_="title"),
                [_key(*key) for key in self.keys],
                _switch(self.views),
            ),
            element("div", class_="plot", role="img", aria_label=self.says, style=tall),
            data(described, class_="chart-data"),
            self.note and element("p", self.note, class_="note"),
            class_="chart",
            id=f"chart-{self.name}",
        )


def data(content: Any, **attributes: Any) -> Markup:
    """Put data into a page, where no part of it can end the element that it stands in."""
    text = shorten(json.dumps(content, allow_nan=False, separators=(",", ":")))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return element("script", Markup(safe), type="application/json", **attributes)


def label(text: Any, most: int = 60) -> str:
    """Write a text so that plotly shows it as it is; it takes some HTML for its own."""
    return html.escape(clipped(str(text), most), quote=False)


def line(
    name: str, x: Sequence[Any], y: Sequence[Any], ink: Colour, hover: str = "%{y:.4f}", **more: Any
) -> Trace:
    """Draw a curve."""
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": ink, "width": 2, **more.pop("line", {})},
        "marker": {"color": ink, "size": 7},
        "hovertemplate": f"{hover}<extra>{label(name)}</extra>",
        **more,
    }


def dotted(x: float, layer: str) -> dict[str, Any]:
    """Draw a dotted upright line through a chart, below or above its traces."""
    stroke = {"color": colour("muted"), "width": 1.5, "dash": "dot"}
    across = {"xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "x0": x, "x1": x, "line": stroke, "layer": layer, **across}


def upright(x: float, text: str) -> dict[str, Any]:
    """Draw a dotted upright line through a chart, with a word at its head."""
    return {
        "shapes": [dotted(x, "below")],
        "annotations": [
            {"x": x, "y": 1, "yref": "paper", "text": text, "showarrow": False, "yanchor": "bottom"}
        ],
        "margin": {"t": 22},
    }


def _key(role: str, meaning: str) -> Markup:
    swatch = element("i", style=f"--swatch:var(--{role})")
    return element("span", swatch, meaning, class_="key")


def _switch(views: Sequence[View]) -> Markup | None:
    if not views:
        return None
    buttons = [
        element("button", view.name, type="button", aria_pressed="false" if place else "true")
        for place, view in enumerate(views)
    ]
    return element("span", buttons, class_="switch", role="group", aria_label="Show")
