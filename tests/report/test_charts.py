"""Every chart is a valid Plotly figure that uses only colors of the style sheet."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import pytest

from nn.report.build import ReportOptions, build_report
from tests.conftest import ROOT
from tests.report.made import made_run, made_sweep
from tests.report.pages import Page

STYLE = (ROOT / "nn/report/page.css").read_text()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("charts")
    states = ("finished", "pruned", "diverged", "failed", "running", "finished")
    runs = [made_run(place / name, f"seed={seed}") for seed, name in enumerate(("one", "two"))]
    return {
        "run": runs[:1],
        "comparison": runs,
        "sweep": [made_sweep(place / "s", 20, states=states)],
    }


@pytest.mark.parametrize("kind", ["run", "comparison", "sweep"])
def test_plotly_takes_them_as_they_are(folders, kind, tmp_path):
    build_report(ReportOptions(folders[kind], tmp_path / "page.html", False, None, None))
    charts = Page(tmp_path / "page.html").charts
    assert charts
    for chart in charts.values():
        for view in [{"traces": [], "layout": {}}, *chart["views"]]:
            layout = chart["layout"] | view["layout"]
            go.Figure(coloured(chart["traces"]), coloured(layout)).to_plotly_json()


def coloured(content):
    """Replace color names by the colors of the style sheet, which must define them."""
    if isinstance(content, list):
        return [coloured(each) for each in content]
    if not isinstance(content, dict):
        return content
    if "$" in content:
        assert f"{content['$']}: light-dark(" in STYLE
        return "#123456"
    return {key: coloured(each) for key, each in content.items()}


def luminance(colour):
    def linear(part):
        share = int(part, 16) / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(colour[place : place + 2]) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("text", ["ink", "muted", "accent"])
@pytest.mark.parametrize("ground", ["paper", "raised"])
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(text, ground, theme):
    roles = dict(re.findall(r"--(\w+): light-dark\((#\w{6}, #\w{6})\)", STYLE))
    darker, lighter = sorted(luminance(roles[each].split(", ")[theme]) for each in (text, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
