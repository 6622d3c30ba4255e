"""Pages: a template with report data, charts and tables, as a single file or in pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from nn.errors import format_value
from nn.report import formatting as fmt
from nn.report.charts.chart import TEMPLATE, Chart, to_plotly_json
from nn.report.palette import COLORS
from nn.report.paths import shorten_paths
from nn.report.tables import Table

GENERATOR = "nn-sweeps report"
"""Marks a page as generated, which allows overwriting it."""
STATIC = files("nn.report") / "static"
SCRIPTS = ("page.js", "charts.js", "tables.js", "explore.js")
LIVE_SCRIPTS = ("idiomorph.js", "live.js")
PieceKey: TypeAlias = tuple[str, ...]
"""Where a piece of a page belongs in the nested JSON that live.js receives."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of the report, in one of the templates.

    A template places charts and tables by name; those that the page lacks are left out.
    """

    template: str
    title: str
    context: Mapping[str, object]
    charts: Mapping[str, Chart] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)

    def render_content(self) -> str:
        """Render the body without charts and tables, which the scripts of the page fill in."""
        template = _environment().get_template(self.template)
        return template.render(
            {**vars(self), **self.context}, sections=[], generated_at=datetime.now()
        )

    def to_html(self) -> str:
        """Render the page with all that it needs as one file, which makes no requests."""
        charts = _join({name: chart.to_json() for name, chart in self.charts.items()})
        tables = {
            name: f"[{table.head()},{_join({key: table.row(key) for key in table.rows})}]"
            for name, table in self.tables.items()
        }
        has_charts = self.charts or any(table.is_explorable for table in self.tables.values())
        return render_document(
            self.title,
            content=Markup(self.render_content()),
            payload=_join({"charts": charts, "tables": _join(tables)}),
            scripts=("plotly.js", *SCRIPTS) if has_charts else SCRIPTS,
        )

    def render_pieces(self) -> dict[PieceKey, str]:
        """Render the pieces of the page, which a live page replaces one by one, as JSON."""
        texts: dict[PieceKey, str] = {
            ("title",): json.dumps(self.title),
            ("content",): json.dumps(self.render_content()),
        }
        texts |= {("charts", name): chart.to_json() for name, chart in self.charts.items()}
        for name, table in self.tables.items():
            texts["tables", name, "head"] = table.head()
            texts["tables", name, "ids"] = json.dumps(list(table.rows))
            texts |= {("tables", name, "rows", row_id): table.row(row_id) for row_id in table.rows}
        return texts


def render_document(
    title: str,
    content: Markup,
    payload: str,  # charts and tables by name, as JSON
    scripts: tuple[str, ...],
    asset_url: str | None = None,
) -> str:
    """Render a whole document, which embeds its styles and scripts unless they have a URL."""
    template = _environment().get_template("document.html")
    return template.render(
        title=title,
        content=content,
        payload=_embed_json(payload),
        template=_embed_json(to_plotly_json(TEMPLATE)),
        colors=COLORS,
        scripts=scripts,
        asset_url=asset_url,
        generator=GENERATOR,
    )


def _embed_json(text: str) -> Markup:
    """Make JSON safe in a script element, so that no string can close it, and shorten its paths."""
    safe = shorten_paths(text).replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(safe.replace("&", "\\u0026"))


@cache
def read_asset(name: str) -> str:
    """Return the text of a style sheet or script."""
    if name == "plotly.js":
        from plotly.offline import get_plotlyjs

        script: str = get_plotlyjs()
        return script
    return (STATIC / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shorten_strings,
        extensions=["jinja2.ext.do"],
    )
    functions = (fmt.percent, fmt.confidence, fmt.number, fmt.count, fmt.duration, fmt.timestamp)
    formats = {function.__name__: function for function in functions}
    environment.filters |= formats | {
        "setting": format_value,
        "short_setting": fmt.short_setting,
        "truncated": fmt.truncate,
        "joined": fmt.join,
        "url": lambda url: Markup(escape(url)),  # paths in URLs are not shortened
    }
    environment.globals |= {**formats, "read_asset": lambda name: Markup(read_asset(name))}
    return environment


def _shorten_strings(value: object) -> object:
    """Shorten the paths in what a template shows, but not in trusted HTML."""
    return shorten_paths(value) if type(value) is str else value


def _join(texts: Mapping[str, str]) -> str:
    """Join values that are JSON already to an object."""
    return f"{{{','.join(f'{json.dumps(key)}:{text}' for key, text in texts.items())}}}"
