"""Pages in a real browser: rendered, without errors or requests, and interactive."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

from nn.report.build import ReportOptions, build_report
from nn.report.sweep_data import SweepData
from nn.runs.reader import SavedRun
from tests.report.made import NASTY, made_run, made_sweep, of_letters

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-unsafe-swiftshader",
)  # fmt: skip
KINDS = ("run", "odd", "sweep", "index", "comparison")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Build a page of each kind."""
    place = tmp_path_factory.mktemp("pages")
    run = made_run(place / "runs/one", "epochs=5", "restore_best=true")
    odd = shutil.copytree(run, place / "runs/odd")
    of_letters(odd)
    states = ("finished", "finished", "pruned", "failed", "finished")
    swept = made_sweep(place / "runs/sweeps/s", 60, states=states)
    for kind, folders in {
        "run": [run], "odd": [odd], "sweep": [swept], "index": [place / "runs"],
        "comparison": [run, odd],
    }.items():  # fmt: skip
        build_report(ReportOptions(folders, place / f"{kind}.html", False, None, None))
    return place


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


@contextmanager
def opened(browser, file, width=1280, **settings):
    """Open a page, wait until it is rendered, and check at the end for errors and requests."""
    said, asked = [], []
    page = browser.new_page(
        viewport={"width": width, "height": 900}, reduced_motion="reduce", **settings
    )
    page.on("console", lambda told: said.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    try:
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-drawn=all]", state="attached", timeout=60_000)
        yield page
        assert said == []
        assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    finally:
        page.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (360, "dark")])
def test_every_chart_is_drawn_without_an_error_or_a_request(browser, pages, kind, width, theme):
    with opened(browser, pages / f"{kind}.html", width, color_scheme=theme) as page:
        for figure in page.locator("figure.chart").all():
            plot = figure.locator(".plot")
            assert plot.locator(".main-svg").count() >= 1, figure.get_attribute("id")
            drawn = plot.locator(".trace, .hm, .point, .bars, .parcoords, canvas").count()
            assert drawn >= 1, figure.get_attribute("id")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert light == {"light": "rgb(250, 248, 243)", "dark": "rgb(22, 21, 19)"}[theme]
        if place := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{place}/{kind}-{theme}-{width}.png", full_page=True)


def test_the_numbers_in_the_browser_are_those_in_the_folder(browser, pages):
    saved = SavedRun.read(pages / "runs/one")
    with opened(browser, pages / "run.html") as page:
        shown = page.locator(".figures data").first.get_attribute("value")
        assert float(shown) == saved.summary["test/accuracy"]
        drawn = page.evaluate("document.querySelector('#chart-loss .plot').data.map((t) => t.y)")
        parts = [[record[f"{part}/loss"] for record in saved.history] for part in ("train", "val")]
        assert drawn == parts


def test_the_theme_changes_charts_too(browser, pages):
    ink = "document.querySelector('#chart-loss .plot').data[1].line.color"
    with opened(browser, pages / "run.html", color_scheme="light") as page:
        light = page.evaluate(ink)
        page.get_by_role("button", name="Switch between light and dark theme").click()
        page.wait_for_function(f"{ink} !== '{light}'")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 21, 19)"


def test_hovering_over_the_map_shows_the_image_and_its_class(browser, pages):
    names = SavedRun.read(pages / "runs/one").class_names
    with opened(browser, pages / "run.html") as page:
        plot = page.locator("#chart-map .plot")
        into_view(plot)
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


def test_hovering_over_the_confusion_matrix_tells_counts_and_shares(browser, pages):
    saved = SavedRun.read(pages / "runs/one")
    with opened(browser, pages / "run.html") as page:
        plot = page.locator("#chart-confusion .plot")
        into_view(plot)
        box = plot.locator(".draglayer .nsewdrag").bounding_box()
        side = box["width"] / 10, box["height"] / 10
        page.mouse.move(box["x"] + 3.5 * side[0], box["y"] + 3.5 * side[1])
        page.wait_for_selector("#chart-confusion .hovertext")
        row = saved.summary["confusion_matrix"][3]
        told = page.locator("#chart-confusion .hovertext").text_content()
        assert f"{row[3]} of {sum(row)}, {row[3] / sum(row):.1%}".replace("%", "\u00a0%") in told


def test_views_of_a_chart_can_be_chosen(browser, pages):
    with opened(browser, pages / "run.html") as page:
        figure = page.locator("#chart-confusion")
        figure.get_by_role("button", name="% of row").click()
        page.wait_for_function(
            "document.querySelector('#chart-confusion .annotation-text').textContent.includes('.')"
        )
        page.locator("#chart-loss").get_by_role("button", name="Log").click()
        page.wait_for_function(
            "document.querySelector('#chart-loss .plot').layout.yaxis.type === 'log'"
        )


def test_names_are_texts_everywhere(browser, pages):
    with opened(browser, pages / "odd.html") as page:
        assert page.locator("img[src=x]").count() == 0
        assert NASTY in page.locator("#classes-table").inner_text()
        ticks = page.locator("#chart-confusion .ytick text").first.text_content()
        assert ticks == f"{NASTY[:13]}…"


def into_view(place):
    """Scroll to an element and wait until scrolling has ended."""
    place.evaluate(
        "(each) => { each.scrollIntoView({ block: 'center' }); return new Promise((done) =>"
        " requestAnimationFrame(() => requestAnimationFrame(done))); }"
    )


def first_column(page, place, column):
    cells = page.locator(f"#{place} tbody tr :nth-child({column})")
    return cells.evaluate_all("(all) => all.map((each) => each.dataset.value ?? each.textContent)")


def test_the_table_of_trials_sorts_filters_and_turns_its_pages(browser, pages):
    trials = SweepData(pages / "runs/sweeps/s").trials
    with opened(browser, pages / "sweep.html") as page:
        table = page.locator("#trials-table")
        head = table.get_by_role("button", name="Trial", exact=True)
        head.focus()
        page.keyboard.press("Enter")
        assert first_column(page, "trials-table", 2) == [str(each) for each in range(25)]
        assert head.locator("..").get_attribute("aria-sort") == "ascending"
        head.click()
        assert first_column(page, "trials-table", 2) == [str(each) for each in range(59, 34, -1)]
        table.get_by_role("button", name="Next").click()
        assert first_column(page, "trials-table", 2)[0] == "34"

        table.get_by_role("combobox").select_option("pruned")
        pruned = [str(trial.number) for trial in trials if trial.status == "pruned"]
        assert first_column(page, "trials-table", 2) == pruned[::-1]
        table.get_by_role("searchbox").fill("adam")
        adam = [
            each for each in trials if each.status == "pruned" and "adam" in each.params.values()
        ]
        assert table.locator("output").inner_text() == f"{len(adam)} of 60"


def test_a_range_that_is_brushed_chooses_lines_and_rows(browser, pages):
    scored = SweepData(pages / "runs/sweeps/s").scored_trials
    with opened(browser, pages / "sweep.html") as page:
        plot = page.locator("#chart-parallel .plot")
        into_view(plot)
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


def test_the_index_is_filtered_and_sorted(browser, pages):
    with opened(browser, pages / "index.html") as page:
        assert page.locator("#index tbody tr").count() == 3
        assert page.locator("#index svg.spark").count() == 3
        page.locator("#index").get_by_role("button", name="Test accuracy", exact=True).click()
        shown = [float(each) for each in first_column(page, "index", 4)]
        assert shown == sorted(shown)
        page.locator("#index").get_by_role("searchbox").fill("sweep")
        assert page.locator("#index tbody tr").count() == 1


def test_a_page_on_paper_is_dark_on_light_with_all_its_settings(browser, pages):
    with opened(browser, pages / "run.html", color_scheme="dark") as page:
        page.emulate_media(media="print")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert page.pdf().startswith(b"%PDF")
