"""Pages in a real browser: rendered, without errors or requests, and interactive."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

from nn.report.build import ReportOptions, build_report
from nn.report.sweep_data import SweepData
from nn.runs.reader import SavedRun
from tests.report.factories import XSS_STRING, make_run, make_sweep, replace_classes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-unsafe-swiftshader",
)  # fmt: skip
PAGE_KINDS = ("run", "odd", "sweep", "index", "comparison")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Build a page of each kind."""
    directory = tmp_path_factory.mktemp("pages")
    run = make_run(directory / "runs/one", "epochs=5", "restore_best=true")
    odd = shutil.copytree(run, directory / "runs/odd")
    replace_classes(odd)
    states = ("finished", "finished", "pruned", "failed", "finished")
    sweep_dir = make_sweep(directory / "runs/sweeps/s", 60, states=states)
    for kind, folders in {
        "run": [run], "odd": [odd], "sweep": [sweep_dir], "index": [directory / "runs"],
        "comparison": [run, odd],
    }.items():  # fmt: skip
        build_report(ReportOptions(folders, directory / f"{kind}.html", False, None, None))
    return directory


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        yield chromium
        chromium.close()


@contextmanager
def open_page(browser, html_file, width=1280, **settings):
    """Open a page, wait until it is rendered, and check at the end for errors and requests."""
    errors, requested_urls = [], []
    page = browser.new_page(
        viewport={"width": width, "height": 900}, reduced_motion="reduce", **settings
    )
    page.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requested_urls.append(request.url))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    try:
        page.goto(html_file.as_uri())
        page.wait_for_selector("html[data-drawn=all]", state="attached", timeout=60_000)
        yield page
        assert errors == []
        assert [url for url in requested_urls if not url.startswith("data:")] == [
            html_file.as_uri()
        ]
    finally:
        page.close()


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
    saved = SavedRun.read(pages / "runs/one")
    with open_page(browser, pages / "run.html") as page:
        shown = page.locator(".figures data").first.get_attribute("value")
        assert float(shown) == saved.summary["test/accuracy"]
        num_drawn = page.evaluate(
            "document.querySelector('#chart-loss .plot').data.map((t) => t.y)"
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
    names = SavedRun.read(pages / "runs/one").class_names
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
    saved = SavedRun.read(pages / "runs/one")
    with open_page(browser, pages / "run.html") as page:
        plot = page.locator("#chart-confusion .plot")
        scroll_into_view(plot)
        box = plot.locator(".draglayer .nsewdrag").bounding_box()
        side = box["width"] / 10, box["height"] / 10
        page.mouse.move(box["x"] + 3.5 * side[0], box["y"] + 3.5 * side[1])
        page.wait_for_selector("#chart-confusion .hovertext")
        row = saved.summary["confusion_matrix"][3]
        hover_text = page.locator("#chart-confusion .hovertext").text_content()
        assert (
            f"{row[3]} of {sum(row)}, {row[3] / sum(row):.1%}".replace("%", "\u00a0%") in hover_text
        )


def test_chart_views_can_be_switched(browser, pages):
    with open_page(browser, pages / "run.html") as page:
        figure = page.locator("#chart-confusion")
        figure.get_by_role("button", name="% of row").click()
        page.wait_for_function(
            "document.querySelector('#chart-confusion .annotation-text').textContent.includes('.')"
        )
        page.locator("#chart-loss").get_by_role("button", name="Log").click()
        page.wait_for_function(
            "document.querySelector('#chart-loss .plot').layout.yaxis.type === 'log'"
        )


def test_names_are_escaped_everywhere(browser, pages):
    with open_page(browser, pages / "odd.html") as page:
        assert page.locator("img[src=x]").count() == 0
        assert XSS_STRING in page.locator("#classes-table").inner_text()
        ticks = page.locator("#chart-confusion .ytick text").first.text_content()
        assert ticks == f"{XSS_STRING[:13]}…"


def scroll_into_view(element):
    """Scroll to an element and wait until scrolling has ended."""
    element.evaluate(
        "(each) => { each.scrollIntoView({ block: 'center' }); return new Promise((done) =>"
        " requestAnimationFrame(() => requestAnimationFrame(done))); }"
    )


def column_values(page, table_id, column):
    cells = page.locator(f"#{table_id} tbody tr :nth-child({column})")
    return cells.evaluate_all("(all) => all.map((each) => each.dataset.value ?? each.textContent)")


def test_trials_table_sorts_filters_and_paginates(browser, pages):
    trials = SweepData(pages / "runs/sweeps/s").trials
    with open_page(browser, pages / "sweep.html") as page:
        table = page.locator("#trials-table")
        head = table.get_by_role("button", name="Trial", exact=True)
        head.focus()
        page.keyboard.press("Enter")
        assert column_values(page, "trials-table", 2) == [str(each) for each in range(25)]
        assert head.locator("..").get_attribute("aria-sort") == "ascending"
        head.click()
        assert column_values(page, "trials-table", 2) == [str(each) for each in range(59, 34, -1)]
        table.get_by_role("button", name="Next").click()
        assert column_values(page, "trials-table", 2)[0] == "34"

        table.get_by_role("combobox").select_option("pruned")
        pruned = [str(trial.number) for trial in trials if trial.status == "pruned"]
        assert column_values(page, "trials-table", 2) == pruned[::-1]
        table.get_by_role("searchbox").fill("adam")
        adam = [
            each for each in trials if each.status == "pruned" and "adam" in each.params.values()
        ]
        assert table.locator("output").inner_text() == f"{len(adam)} of 60"


def test_brushing_a_range_selects_lines_and_rows(browser, pages):
    scored = SweepData(pages / "runs/sweeps/s").scored_trials
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
            ".dimensions.at(-1); return [axis.constraintrange, axis.values]; })()"
        )
        left = sum(low <= value <= high for value in values)
        assert 0 < left < len(scored)
        shown = page.locator("#trials-table output").inner_text()
        assert shown == f"{left} of 60"


def test_index_page_can_be_filtered_and_sorted(browser, pages):
    with open_page(browser, pages / "index.html") as page:
        assert page.locator("#index tbody tr").count() == 3
        assert page.locator("#index svg.spark").count() == 3
        page.locator("#index").get_by_role("button", name="Test accuracy", exact=True).click()
        shown = [float(each) for each in column_values(page, "index", 4)]
        assert shown == sorted(shown)
        page.locator("#index").get_by_role("searchbox").fill("sweep")
        assert page.locator("#index tbody tr").count() == 1


def test_printed_page_is_dark_on_light(browser, pages):
    with open_page(browser, pages / "run.html", color_scheme="dark") as page:
        page.emulate_media(media="print")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert page.pdf().startswith(b"%PDF")
