"""Common parts of charts: the Plotly template, axes, labels and arrays."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio

from nn.report.formatting import truncate
from nn.report.palette import color
from nn.types import Array

MAX_NAMED_CLASSES = 40
"""Number of classes up to which every class is named on an axis."""

_AXIS = {
    "automargin": True,
    "gridcolor": color("rule"),
    "linecolor": color("rule"),
    "zerolinecolor": color("rule"),
    "tickfont": {"color": color("muted")},
    "title": {"font": {"color": color("muted"), "size": 12}, "standoff": 8},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"size": 12, "color": color("muted")},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
        "colorway": [color(f"class-{number}") for number in range(10)],
        "legend": {"orientation": "h", "y": -0.02, "itemsizing": "constant"},
        "legend_font_color": color("ink"),
        "hoverlabel": {
            "bgcolor": color("raised"),
            "bordercolor": color("rule"),
            "font": {"size": 13, "color": color("ink")},
            "align": "left",
        },
        "xaxis": {**_AXIS, "showgrid": False},
        "yaxis": _AXIS,
        "annotationdefaults": {"showarrow": False, "font": {"color": color("muted")}},
        "shapedefaults": {"line": {"color": color("muted"), "width": 1.5, "dash": "dot"}},
    },
    data={
        "scatter": [{"line": {"width": 2}, "marker": {"size": 7}}],
        "heatmap": [{"showscale": False, "xgap": 1, "ygap": 1}],
        "parcoords": [
            {
                "labelfont": {"color": color("ink"), "size": 13},
                "tickfont": {"color": color("muted"), "size": 11},
                "rangefont": {"color": "rgba(0,0,0,0)", "size": 1},
                "unselected": {"line": {"color": color("rule"), "opacity": 0.35}},
            }
        ],
    },
)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure, to which a template adds title and note, and the script of the page controls.

    Attributes:
        alt_text: Description for screen readers, which follows the title.
        height: In pixels.
        min_width: In pixels, below which the chart scrolls in a narrow window.
        legend: Color role and text of each entry, shown in the caption.
        views: Alternative views by name, as arguments of `Plotly.update`: changes of all traces.
        x_axes: Values of the x axis by its name (epoch, seconds, samples), one per point of each
            trace or a list of them per trace, between which the reader can choose; the first is
            that of the figure.
        has_log_scale: Whether the reader can switch the y axis to a logarithmic scale.
        has_smoothing: Whether the reader can smooth the lines.
        extra: What a script of the page needs in addition, such as the images of a map.
    """

    figure: go.Figure
    alt_text: str
    height: int = 300
    min_width: int = 0
    legend: Sequence[tuple[str, str]] = ()
    views: Mapping[str, object] = field(default_factory=dict)
    x_axes: Mapping[str, Sequence[float | None] | Sequence[Sequence[float | None]]] = field(
        default_factory=dict
    )
    has_log_scale: bool = False
    has_smoothing: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return what charts.js draws; the template is stored once per page."""
        self.figure.layout.template = None
        content = {
            **self.figure.to_plotly_json(),
            "views": self.views,
            "xAxes": self.x_axes,
            "hasLogScale": self.has_log_scale,
            "hasSmoothing": self.has_smoothing,
            **self.extra,
        }
        return to_plotly_json(content)


def to_plotly_json(content: object) -> str:
    """Return JSON of figures or their template, with arrays as base64."""
    text: str = pio.json.to_json_plotly(content)
    return text


def escape_label(text: object, max_length: int = 60) -> str:
    """Escape a text for Plotly, which interprets some HTML tags in labels."""
    return html.escape(truncate(str(text), max_length), quote=False)


def add_band(
    figure: go.Figure,
    x: Sequence[float],
    mean: Sequence[float | None],
    std: Sequence[float | None],
    fill_color: str,
) -> None:
    """Add a band of one standard deviation around a mean curve, as far as it is known."""
    band = np.array([x, mean, std], np.float64) if std else np.empty((3, 0))
    x_known, center, half = band[:, np.isfinite(band).all(0)]
    if len(x_known):
        figure.add_scatter(
            mode="none",
            fill="toself",
            x=np.concatenate([x_known, x_known[::-1]]),
            y=np.concatenate([center + half, (center - half)[::-1]]),
            fillcolor=fill_color,
            opacity=0.13,
            hoverinfo="skip",
        )


def set_epoch_axis(figure: go.Figure, num_epochs: int) -> None:
    """Give the x axis integer ticks and the title epoch."""
    ticks = {"dtick": 1} if num_epochs <= 8 else {"nticks": 8}
    figure.update_xaxes(title_text="epoch", hoverformat=",d", tickformat=",~f", **ticks)


def category_axis(names: Sequence[str], max_length: int = 14) -> dict[str, object]:
    """Return an axis of names at 0, 1, 2, ..., thinned out to `MAX_NAMED_CLASSES`."""
    step = -(-len(names) // MAX_NAMED_CLASSES) or 1
    positions = list(range(0, len(names), step))
    return {
        "tickvals": positions,
        "ticktext": [escape_label(names[position], max_length) for position in positions],
        "zeroline": False,
        "showgrid": False,
    }


def log_axis(values: Sequence[float]) -> dict[str, object]:
    """Return a logarithmic axis with up to six round ticks."""
    ticks = log_ticks(min(values), max(values))
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:.3g}" for tick in ticks]}


def log_ticks(low: float, high: float) -> list[float]:
    """Choose two to six round ticks between two positive numbers, denser for narrow ranges."""
    powers = range(math.floor(math.log10(low)), min(math.ceil(math.log10(high)), 307) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low * 0.97 <= tick <= high * 1.03]
        if len(ticks) >= 3:
            return ticks[:: -(-len(ticks) // 6)]
    return [low, high]


def needs_log_scale(values: Sequence[float]) -> bool:
    """Whether values are positive, not subnormal, and span more than a factor of ten."""
    return 1e-300 < min(values) < max(values) / 10


def compact_floats(values: Array) -> Array:
    """Return an array in single precision, which is enough to draw it and half as large."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return single if (np.isfinite(single) == np.isfinite(values)).all() else values


def compact_integers(values: Sequence[int]) -> Array:
    """Return positive integers as an array of the smallest type."""
    return np.array(values, np.min_scalar_type(max(values)))
