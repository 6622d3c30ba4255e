"""Every chart is a valid Plotly figure that uses only colors of the style sheet."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import pytest

from nn.report.build import ReportOptions, build_report
from tests.conftest import ROOT
from tests.report.factories import make_run, make_sweep
from tests.report.report_page import ReportPage

STYLESHEET = (ROOT / "nn/report/page.css").read_text()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    directory = tmp_path_factory.mktemp("charts")
    states = ("finished", "pruned", "diverged", "failed", "running", "finished")
    runs = [make_run(directory / name, f"seed={seed}") for seed, name in enumerate(("one", "two"))]
    return {
        "run": runs[:1],
        "comparison": runs,
        "sweep": [make_sweep(directory / "s", 20, states=states)],
    }


@pytest.mark.parametrize("kind", ["run", "comparison", "sweep"])
def test_charts_are_valid_plotly_figures(folders, kind, tmp_path):
    build_report(ReportOptions(folders[kind], tmp_path / "page.html", False, None, None))
    charts = ReportPage(tmp_path / "page.html").charts
    assert charts
    for chart in charts.values():
        for view in [{"traces": [], "layout": {}}, *chart["views"]]:
            layout = chart["layout"] | view["layout"]
            go.Figure(resolve_colors(chart["traces"]), resolve_colors(layout)).to_plotly_json()


def resolve_colors(figure_json):
    """Replace color names by the colors of the style sheet, which must define them."""
    if isinstance(figure_json, list):
        return [resolve_colors(each) for each in figure_json]
    if not isinstance(figure_json, dict):
        return figure_json
    if "$" in figure_json:
        assert f"{figure_json['$']}: light-dark(" in STYLESHEET
        return "#123456"
    return {key: resolve_colors(each) for key, each in figure_json.items()}


def luminance(colour):
    def linear(part):
        share = int(part, 16) / 255
        return share / 12.92 if share <= 0.03928 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(colour[directory : directory + 2]) for directory in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("text", ["ink", "muted", "accent"])
@pytest.mark.parametrize("ground", ["paper", "raised"])
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_contrast_meets_wcag_aa(text, ground, theme):
    roles = dict(re.findall(r"--(\w+): light-dark\((#\w{6}, #\w{6})\)", STYLESHEET))
    darker, lighter = sorted(luminance(roles[each].split(", ")[theme]) for each in (text, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
