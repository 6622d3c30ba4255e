"""A self-contained HTML page with embedded styles, scripts and data: it makes no requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from nn.report.markup import Markup, element, join_html

GENERATOR = "nn-sweeps report"
"""Marks a page as generated, which allows overwriting it."""
SCRIPTS = ("page.js", "tables.js", "charts.js")


@dataclass(frozen=True)
class Section:
    """A section of a page with a title and remarks next to its body."""

    name: str
    title: str
    body: Sequence[object]
    remarks: Sequence[object] = ()
    is_wide: bool = False

    def to_html(self) -> Markup:
        """Render the section."""
        return element(
            "section",
            element(
                "header",
                element("h2", self.title),
                [element("p", remark) for remark in self.remarks if remark],
            ),
            element("div", self.body, class_="body"),
            id=self.name,
            class_="wide" if self.is_wide else None,
        )


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: header with summary, notices and key figures, then sections."""

    kind: str
    title: str
    subtitle: str = ""
    summary: str
    sections: Sequence[Section]
    notices: Sequence[str] = ()
    stats: Sequence[tuple[str, str, object]] = ()  # name, text, exact value
    back_link: Markup | None = None
    footer: Sequence[object] = ()

    def to_bytes(self) -> bytes:
        """Render the page; Plotly is embedded only if there is a chart."""
        has_charts = any('class="chart"' in section.to_html() for section in self.sections)
        html = join_html(
            [
                Markup("<!doctype html>\n"),
                element("html", self._head(), self._body(has_charts), lang="en"),
            ]
        )
        return html.encode("utf-8", "replace")

    def _head(self) -> Markup:
        return element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="generator", content=GENERATOR),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", f"{self.title} · {self.kind}"),
            element("link", rel="icon", href="data:,"),
            element("style", Markup(_read_asset("page.css"))),
            element("script", Markup(_read_asset("theme.js"))),
        )

    def _body(self, has_charts: bool) -> Markup:
        links = [element("a", section.title, href=f"#{section.name}") for section in self.sections]
        return element(
            "body",
            element("nav", element("div", links), _theme_button(), aria_label="Contents"),
            element(
                "main",
                element(
                    "header",
                    self.back_link,
                    element(
                        "p",
                        self.kind,
                        self.subtitle and element("span", self.subtitle),
                        class_="kicker",
                    ),
                    element("h1", self.title),
                    element("p", self.summary, class_="lead"),
                    [element("p", notice, class_="notice", role="note") for notice in self.notices],
                    _render_stats(self.stats),
                    class_="masthead",
                ),
                [section.to_html() for section in self.sections],
            ),
            element("footer", self.footer),
            has_charts and element("script", Markup(_plotly())),
            [element("script", Markup(_read_asset(name))) for name in SCRIPTS],
        )


def _render_stats(stats: Sequence[tuple[str, str, object]]) -> Markup | None:
    """Render the key figures, each with its exact value in a `data` element."""
    if not stats:
        return None
    return element(
        "dl",
        [
            element("div", element("dt", name), element("dd", element("data", text, value=exact)))
            for name, text, exact in stats
        ],
        class_="figures",
    )


def _theme_button() -> Markup:
    return element(
        "button",
        "Light or dark theme",
        type="button",
        class_="theme",
        title="Light or dark theme",
        aria_label="Switch between light and dark theme",
    )


def _read_asset(name: str) -> str:
    return (files("nn.report") / name).read_text("utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
