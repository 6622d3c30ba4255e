"""Charts use only colors that have a dark counterpart, and texts that are easy to read."""

from __future__ import annotations

import re

import pytest

from nn.report.build import ReportOptions, build_report
from nn.report.palette import COLORS, class_color, class_dash
from tests.report.factories import make_run, make_sweep
from tests.report.report_page import ReportPage

COLOR_PATTERN = re.compile(r"#[0-9a-f]{3,8}|(?:rgb|hsl)a?\(.*", re.IGNORECASE)
TRANSPARENT = "rgba(0,0,0,0)"


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


def collect_colors(value):
    """Return all strings in JSON that are colors."""
    if isinstance(value, str):
        return {value} if COLOR_PATTERN.fullmatch(value) else set()
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(collect_colors, items))


@pytest.mark.parametrize("kind", ["run", "comparison", "sweep"])
def test_charts_use_colors_that_have_a_dark_counterpart(folders, kind, tmp_path):
    build_report(ReportOptions(folders[kind], tmp_path / "page.html"))
    charts = ReportPage(tmp_path / "page.html").charts
    assert len(charts) > 1
    colors = collect_colors(charts)
    assert colors
    assert colors <= {light for light, _ in COLORS.values()} | {TRANSPARENT}


def test_no_two_roles_share_a_light_color():
    assert len({light for light, _ in COLORS.values()}) == len(COLORS)


def test_lines_of_many_runs_differ_in_color_or_dash():
    assert len({(class_color(number), class_dash(number)) for number in range(40)}) == 40


def luminance(color):
    def linear(part):
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(color[start : start + 2]) for start in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("text", ["ink", "muted", "accent"])
@pytest.mark.parametrize("ground", ["paper", "raised"])
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_contrast_meets_wcag_aa(text, ground, theme):
    darker, lighter = sorted(luminance(COLORS[each][theme]) for each in (text, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
