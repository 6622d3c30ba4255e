"""Pages in a real browser: rendered, without errors or requests, and interactive."""

from __future__ import annotations

import itertools
import os
import shutil

import numpy as np
import pytest

from nn.report.build import ReportOptions, build_report
from nn.runs.reader import SavedRun
from tests.report.browser import needs_chromium, open_page
from tests.report.factories import XSS_STRING, make_run, make_sweep, replace_classes

pytestmark = needs_chromium
PAGE_KINDS = ("run", "odd", "sweep", "index", "comparison")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Build a page of each kind."""
    directory = tmp_path_factory.mktemp("pages")
    run = make_run(directory / "runs/one", "epochs=12", "restore_best=true")
    odd = shutil.copytree(run, directory / "runs/odd")
    replace_classes(odd)
    states = ("finished", "finished", "pruned", "failed", "finished")
    sweep_dir = make_sweep(directory / "runs/sweeps/s", 60, states=states)
    for kind, folders in {
        "run": [run], "odd": [odd], "sweep": [sweep_dir], "index": [directory / "runs"],
        "comparison": [run, odd],
    }.items():  # fmt: skip
        build_report(ReportOptions(folders, directory / f"{kind}.html"))
    return directory


@pytest.mark.sampled(5)
@pytest.mark.parametrize("kind", PAGE_KINDS)
@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (360, "dark")])
def test_every_chart_renders_without_errors_or_requests(browser, pages, kind, width, theme):
    with open_page(browser, pages / f"{kind}.html", width, color_scheme=theme) as page:
        for figure in page.locator("figure.chart").all():
            plot = figure.locator(".plot")
            assert plot.locator(".main-svg").count() >= 1, figure.get_attribute("id")
            num_drawn = plot.locator(".trace, .hm, .point, .bars, .parcoords, canvas").count()
            assert num_drawn >= 1, figure.get_attribute("id")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert light == {"light": "rgb(250, 248, 243)", "dark": "rgb(22, 21, 19)"}[theme]
        if place := os.environ.get("NN_TEST_SCREENSHOTS"):
            page.screenshot(path=f"{place}/{kind}-{theme}-{width}.png", full_page=True)


def test_numbers_in_the_browser_match_the_run_directory(browser, pages):
    saved = SavedRun(pages / "runs/one")
    with open_page(browser, pages / "run.html") as page:
        shown = page.locator(".figures data").first.get_attribute("value")
        assert float(shown) == saved.summary["test/accuracy"]
        num_drawn = page.evaluate(
            "document.querySelector('#chart-loss .plot').data.map((t) => Array.from(toArray(t.y)))"
        )
        parts = [[record[f"{part}/loss"] for record in saved.history] for part in ("train", "val")]
        assert num_drawn == parts


def test_theme_switch_changes_charts(browser, pages):
    ink = "document.querySelector('#chart-loss .plot').data[1].line.color"
    with open_page(browser, pages / "run.html", color_scheme="light") as page:
        light = page.evaluate(ink)
        page.get_by_role("button", name="Switch between light and dark theme").click()
        page.wait_for_function(f"{ink} !== '{light}'")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 21, 19)"


def test_hovering_over_the_map_shows_the_image_and_its_class(browser, pages):
    names = SavedRun(pages / "runs/one").class_names
    with open_page(browser, pages / "run.html") as page:
        plot = page.locator("#chart-map .plot")
        scroll_into_view(plot)
        point = plot.locator(".point").nth(7).bounding_box()
        page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
        card = page.locator(".card")
        card.wait_for(state="visible")
        assert (
            card.locator(".picture")
            .evaluate("(each) => each.style.backgroundImage")
            .startswith('url("data:image/png')
        )
        assert card.inner_text().split(",")[0] in names
        page.mouse.move(2, 2)
        card.wait_for(state="hidden")


def test_hovering_over_the_confusion_matrix_shows_counts_and_percentages(browser, pages):
    saved = SavedRun(pages / "runs/one")
    with open_page(browser, pages / "run.html") as page:
        plot = page.locator("#chart-confusion .plot")
        scroll_into_view(plot)
        box = plot.locator(".draglayer .nsewdrag").bounding_box()
        side = box["width"] / 10, box["height"] / 10
        page.mouse.move(box["x"] + 3.5 * side[0], box["y"] + 3.5 * side[1])
        page.wait_for_selector("#chart-confusion .hovertext")
        row = saved.summary["confusion_matrix"][3]
        hover_text = page.locator("#chart-confusion .hovertext").text_content()
        assert f"{row[3]} of {sum(row)}, {row[3] / sum(row):.1%}" in hover_text


def test_chart_views_can_be_switched(browser, pages):
    with open_page(browser, pages / "run.html") as page:
        page.locator("#chart-confusion").get_by_role("button", name="% of row").click()
        page.wait_for_function(
            "document.querySelector('#chart-confusion .heatmap-label').textContent.includes('.')"
        )
        page.locator("#chart-loss").get_by_role("button", name="Log").click()
        page.wait_for_function(
            "document.querySelector('#chart-loss .plot').layout.yaxis.type === 'log'"
        )


def test_learning_curves_by_training_time_and_smoothed(browser, pages):
    seconds = np.cumsum([record["seconds"] for record in SavedRun(pages / "runs/one").history])
    traces = "document.querySelector('#chart-loss .plot').data"
    with open_page(browser, pages / "run.html") as page:
        chart = page.locator("#chart-loss")
        chart.get_by_role("button", name="seconds").click()
        page.wait_for_function(f"{traces}[0].x[0] < 1")
        assert page.evaluate(f"Array.from({traces}[0].x)") == pytest.approx(seconds)
        chart.get_by_label("Smoothing").fill("0.8")
        page.wait_for_function(f"{traces}.length === 4")
        raw, smoothed = page.evaluate(f"{traces}.slice(0, 2).map((t) => Array.from(toArray(t.y)))")
        assert smoothed[0] == raw[0]
        assert raw[-1] < smoothed[-1] < raw[0]


def test_names_are_escaped_everywhere(browser, pages):
    with open_page(browser, pages / "odd.html") as page:
        assert page.locator("img[src=x]").count() == 0
        assert XSS_STRING in page.locator("#table-classes").inner_text()
        ticks = page.locator("#chart-confusion .ytick text").first.text_content()
        assert ticks == f"{XSS_STRING[:13]}…"


def test_class_names_do_not_overlap_on_a_phone(browser, pages):
    with open_page(browser, pages / "odd.html", 360) as page:
        ticks = page.locator("#chart-confusion .xtick text").all()
        lefts = sorted(tick.bounding_box()["x"] for tick in ticks)
        assert len(ticks) == 14  # of 27
        assert min(right - left for left, right in itertools.pairwise(lefts)) > 10


def test_map_fills_the_width_of_a_phone(browser, pages):
    with open_page(browser, pages / "run.html", 360) as page:
        box = page.locator("#chart-map .plot").bounding_box()
        assert box["height"] < 1.4 * box["width"]


def scroll_into_view(element):
    """Scroll to an element and wait until scrolling has ended."""
    element.evaluate(
        "(each) => { each.scrollIntoView({ block: 'center' }); return new Promise((done) =>"
        " requestAnimationFrame(() => requestAnimationFrame(done))); }"
    )


def test_brushing_a_range_selects_lines_and_rows(browser, pages):
    with open_page(browser, pages / "sweep.html") as page:
        plot = page.locator("#chart-parallel .plot")
        scroll_into_view(plot)
        axis = plot.locator(".axis-brush").last.bounding_box()
        x = axis["x"] + axis["width"] / 2
        page.mouse.move(x, axis["y"] + axis["height"] * 0.95)
        page.mouse.down()
        page.mouse.move(x, axis["y"] + axis["height"] * 0.5, steps=8)
        page.mouse.up()
        page.wait_for_selector("#chart-parallel .note[data-left*=selected]")
        (low, high), values = page.evaluate(
            "(() => { const axis = document.querySelector('#chart-parallel .plot').data[0]"
            ".dimensions.at(-1);"
            " return [axis.constraintrange, Array.from(toArray(axis.values))]; })()"
        )
        left = sum(low <= value <= high for value in values)
        assert 0 < left < len(values)
        shown = page.locator("#table-trials output").inner_text()
        assert shown == f"{left} of 60"


def test_printed_page_is_dark_on_light(browser, pages):
    with open_page(browser, pages / "run.html", color_scheme="dark") as page:
        page.emulate_media(media="print")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert page.pdf().startswith(b"%PDF")
