"""Tables in a real browser: sorted, filtered, grouped, compared, plotted, exported and updated."""

from __future__ import annotations

import csv
import json
from statistics import mean, stdev

import pytest
from markupsafe import Markup

from nn.report.page import SCRIPTS, render_document
from nn.report.tables import Column, Table
from tests.report.browser import needs_chromium, open_page
from tests.report.factories import XSS_STRING

pytestmark = needs_chromium

COLUMNS = [
    Column("name", "Name", "link"), Column("status", "Status", "status"),
    Column("val/accuracy", "Validation accuracy", "percent"), Column("val/loss", "Loss", "number"),
    Column("seconds", "Time", "duration"), Column("curve", "Curve", "sparkline"),
    Column("optimizer", "optimizer"), Column("depth", "depth", is_shown=False),
    Column("started", "Started", "time", is_shown=False),
    Column("command", "Command", is_shown=False),
]  # fmt: skip
OPTIMIZERS = ("sgd", "adam", "momentum")


def make_table(num_rows=60, **options):
    rows = {}
    for number in range(num_rows):
        is_failed = number % 10 == 9
        accuracy = None if is_failed else 0.5 + number / 200
        rows[f"runs/{number}"] = [
            [f"run {number}", f"{number}.html"], "failed" if is_failed else "finished", accuracy,
            None if is_failed else 2.5 - 1.5 * number / 59, 30.0 * number, [0.1, None, 0.3],
            OPTIMIZERS[number % 3], number % 4, 1_790_000_000 + 86_400 * number,
            f"python scripts/train.py seed={number}",
        ]  # fmt: skip
    curves = {
        row_id: {
            "epoch": [1, 2, 3], "seconds": [0.1, 0.2, 0.3],
            "val/loss": [3.0 + index, 2.0 + index, 1.0 + index], "val/accuracy": [0.1, 0.2, 0.3],
        }
        for index, row_id in enumerate(rows)
    }  # fmt: skip
    settings = {
        "columns": COLUMNS, "rows": rows, "page_size": 25,
        "is_explorable": True, "curves": curves, "sort": "-val/accuracy", **options,
    }  # fmt: skip
    return Table(**settings)


def write_page(file, **tables):
    """Write a page of tables only."""
    divs = "".join(
        f'<div class="table" id="table-{name}" data-caption="Runs"></div>'
        for name, table in tables.items()
    )
    parts = {
        name: [json.loads(table.head()), {key: json.loads(table.row(key)) for key in table.rows}]
        for name, table in tables.items()
    }
    scripts = ("plotly.js", *SCRIPTS)
    payload = json.dumps({"charts": {}, "tables": parts})
    content = Markup(f'<main data-compare-url="/compare">{divs}</main>')
    file.write_text(render_document("Tables", content, payload, scripts))
    return file


@pytest.fixture(scope="module")
def html_file(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("tables") / "page.html", runs=make_table())


def cells(page, column, table="runs"):
    """Return the texts of a column, counted from 0 and without tick boxes."""
    rows = page.locator(f"#table-{table} tbody tr")
    return rows.evaluate_all(
        "(rows, column) => rows.map((row) => row.querySelectorAll(':is(th, td):not(.tick)')[column]"
        ".textContent)",
        column,
    )


def num_shown(page):
    return page.locator("#table-runs output").inner_text()


def search(page, text):
    page.get_by_role("searchbox", name="Search Runs").fill(text)
    return num_shown(page)


def button(page, name):
    return page.locator("#table-runs").get_by_role("button", name=name, exact=True)


def tick(page, *positions):
    for position in positions:
        page.locator("#table-runs tbody input").nth(position).check()


def wait_for_chart(page, name, condition):
    page.wait_for_function(
        f"((plot) => plot?.data && ({condition}))"
        f"(document.querySelector('#chart-runs-{name} .plot'))"
    )


def test_values_are_formatted_by_the_kind_of_their_column(browser, html_file):
    with open_page(browser, html_file) as page:
        row = page.locator("#table-runs tbody tr").first
        assert row.locator("th").inner_text() == "run 58"
        assert row.locator("a").get_attribute("href") == "58.html"
        texts = row.locator("td:not(.tick)").all_inner_texts()
        assert texts == ["finished", "79.00\u00a0%", "1.025", "29 min 0 s", "", "adam"]
        assert row.locator("svg path").get_attribute("d").count("M") == 2  # a gap at the null
        search(page, '"run 9"')
        assert cells(page, 2) == ["—"]


def test_headers_sort_with_unknown_values_last(browser, html_file):
    with open_page(browser, html_file) as page:
        header = page.get_by_role("columnheader", name="Validation accuracy")
        assert header.get_attribute("aria-sort") == "descending"
        header.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == "ascending"
        assert cells(page, 0)[:3] == ["run 0", "run 1", "run 2"]
        for _ in range(2):
            button(page, "Next").click()
        assert "Page 3 of 3" in page.locator(".pager").inner_text()
        assert cells(page, 2)[-6:] == ["—"] * 6
        header.get_by_role("button").click()
        assert cells(page, 2)[0] == "79.00\u00a0%"


FILTERS = {
    "adam": 20, "RUN adam finished": 18, "status:failed": 6, "status!=failed": 54,
    "val/accuracy>0.7": 17, '"validation accuracy">=70%': 18, "val/loss<=1e3": 54,
    "seconds<2min": 4, "optimizer=adam depth:1": 5, "depth>=2 depth<3": 15,
    "started>=2026-09-30": 51, "val/accuracy:null": 6, '"run 12"': 1, "nothing": 0,
}  # fmt: skip
WRONG_FILTERS = {
    "accuracy>0.9": "There is no column “accuracy”. Similar: val/accuracy.",
    "val/loss>low": "val/loss>low: not a number; an example is val/loss>0.5.",
    "depth:": "depth:: the value is missing.",
}


def test_filters_are_words_and_conditions(browser, html_file):
    with open_page(browser, html_file, timezone_id="UTC") as page:
        found = {text: search(page, text) for text in FILTERS}
        assert found == {text: f"{num_rows} of 60" for text, num_rows in FILTERS.items()}
        assert not page.locator(".hint.error").count()


def test_wrong_filters_are_explained(browser, html_file):
    with open_page(browser, html_file) as page:
        for text, message in WRONG_FILTERS.items():
            assert search(page, f"adam {text}") == "20 of 60"
            assert page.locator(".hint.error").inner_text() == message


def test_chosen_columns_are_remembered(browser, html_file):
    with open_page(browser, html_file) as page:
        page.locator("summary").click()
        page.get_by_role("searchbox", name="Find a column").fill("dep")
        assert page.locator(".menu li:visible").count() == 1
        page.get_by_label("depth").check()
        page.keyboard.press("Escape")
        assert not page.get_by_role("searchbox", name="Find a column").is_visible()
        assert cells(page, 7)[:2] == ["2", "1"]

        page.reload()
        assert cells(page, 7)[:2] == ["2", "1"]
        page.locator("summary").click()
        button(page, "Reset").click()
        assert page.locator("thead th").count() == 8

        page.evaluate("localStorage.setItem(Object.keys(localStorage)[0], '{')")
        page.reload()
        assert page.locator("thead th").count() == 8


def test_groups_show_mean_and_standard_deviation(browser, html_file):
    with open_page(browser, html_file) as page:
        page.get_by_label("Group by").select_option("optimizer")
        accuracies = {
            name: [0.5 + n / 200 for n in range(60) if OPTIMIZERS[n % 3] == name and n % 10 != 9]
            for name in OPTIMIZERS
        }
        page.get_by_role("columnheader", name="Time").get_by_role("button").click()
        assert cells(page, 0) == ["▸ sgd 20", "▸ adam 20", "▸ momentum 20"]
        expected = [
            f"{100 * mean(values):.2f} ± {100 * stdev(values):.2f}\u00a0%"
            for values in accuracies.values()
        ]
        assert cells(page, 2) == expected
        toggle = page.locator("tbody .group button").first
        toggle.focus()
        page.keyboard.press("Enter")
        assert toggle.get_attribute("aria-expanded") == "true"
        assert page.locator("tbody .group button").first.evaluate(
            "(e) => e === document.activeElement"
        )
        assert len(cells(page, 0)) == 23

        button(page, "Curves").click()
        wait_for_chart(page, "curves", "plot.data.length === 6")
        band, line = page.evaluate(
            "document.querySelector('#chart-runs-curves .plot').data.slice(0, 2)"
        )
        numbers = [n for n in range(60) if n % 3 == 0]
        assert line["x"] == [1, 2, 3]
        assert line["y"] == pytest.approx([3 + mean(numbers), 2 + mean(numbers), 1 + mean(numbers)])
        assert band["y"][0] - line["y"][0] == pytest.approx(stdev(numbers))


def test_table_is_grouped_at_first_and_its_csv_has_a_row_per_group(browser, tmp_path):
    file = write_page(tmp_path / "page.html", runs=make_table(group_by="optimizer"))
    with open_page(browser, file) as page:
        assert page.get_by_label("Group by").input_value() == "optimizer"
        assert sorted(cells(page, 6)) == ["adam", "momentum", "sgd"]  # which all rows share
        search(page, "sgd status:finished")
        with page.expect_download() as download:
            button(page, "CSV").click()
        with download.value.path().open(newline="", encoding="utf-8") as csv_file:
            (row,) = csv.DictReader(csv_file)
        values = [0.5 + n / 200 for n in range(0, 60, 3) if n % 10 != 9]
        assert (row["optimizer"], row["rows"], row["status"]) == ("sgd", "18", "finished")
        assert float(row["val/accuracy"]) == pytest.approx(mean(values))
        assert float(row["val/accuracy std"]) == pytest.approx(stdev(values))
        page.get_by_label("Group by").select_option("")
        search(page, "adam")
        assert len(cells(page, 0)) == 20  # the reader's choice stays


def test_curves_of_ticked_rows_are_overlaid(browser, html_file):
    with open_page(browser, html_file) as page:
        tick(page, 0, 3)
        button(page, "Curves").click()
        wait_for_chart(page, "curves", "plot.data.length === 2")
        assert page.locator("#chart-runs-curves .key").all_inner_texts() == ["run 58", "run 55"]
        page.get_by_label("Metric").select_option("val/accuracy")
        button(page, "seconds").click()
        button(page, "Log").click()
        wait_for_chart(page, "curves", "plot.data[0].y[0] === 0.1 && plot.data[0].x[0] === 0.1")
        wait_for_chart(page, "curves", "plot.layout.yaxis.type === 'log'")
        page.get_by_label("Smoothing").fill("0.9")
        wait_for_chart(page, "curves", "plot.data.length === 4")
        page.get_by_role("checkbox", name="Tick all rows").check()
        assert page.get_by_text("60 ticked", exact=True).is_visible()
        button(page, "Clear").click()
        wait_for_chart(page, "curves", "plot.data.length === 20")
        button(page, "Curves").click()
        assert page.locator("#chart-runs-curves").count() == 0


def test_scatter_plot_shows_any_two_columns_and_ticks_rows(browser, html_file):
    with open_page(browser, html_file) as page:
        search(page, "adam")
        button(page, "Scatter plot").click()
        page.get_by_label("X", exact=True).select_option("seconds")
        page.get_by_label("Y", exact=True).select_option("val/loss")
        page.get_by_label("Color").select_option("depth")
        page.get_by_label("log x").check()
        wait_for_chart(page, "scatter", "plot.data[0]?.x.length === 18")
        wait_for_chart(
            page, "scatter", "plot.layout.xaxis.type === 'log' && plot.data[0].marker.showscale"
        )
        page.get_by_label("Color").select_option("status")
        page.wait_for_function("document.querySelectorAll('#chart-runs-scatter .key').length === 1")
        point = page.locator("#chart-runs-scatter .point").first
        point.hover(force=True)
        assert "run 58" in page.locator("#chart-runs-scatter .hovertext").text_content()
        point.click(force=True)
        page.get_by_text("1 ticked").wait_for()
        assert page.locator("tbody input:checked").count() == 1


def test_baseline_shows_differences(browser, html_file):
    with open_page(browser, html_file) as page:
        tick(page, 1)
        button(page, "Use as baseline").click()
        assert cells(page, 0)[:2] == ["run 57", "run 58"]
        assert cells(page, 2)[:3] == [
            "78.50\u00a0%",
            "79.00\u00a0%+0.50\u00a0pp",
            "78.00\u00a0%\u22120.50\u00a0pp",
        ]
        assert cells(page, 4)[1] == "29 min 0 s+30.0 s"
        button(page, "Next").click()
        assert cells(page, 0)[0] == "run 57"
        button(page, "Remove baseline").click()
        assert "pp" not in "".join(cells(page, 2))


def test_csv_has_the_filtered_rows_and_shown_columns(browser, tmp_path):
    rows = {"a": ['=1+2, "quoted"\nline', 0.123456789], "b": ["other", None]}
    columns = [Column("name", "Name"), Column("val/accuracy", "Accuracy", "percent")]
    table = make_table(rows=rows, columns=columns, curves={}, sort=None)
    with open_page(browser, write_page(tmp_path / "page.html", runs=table)) as page:
        assert search(page, "quoted") == "1 of 2"
        with page.expect_download() as download:
            button(page, "CSV").click()
        assert download.value.suggested_filename == "runs.csv"
        with download.value.path().open(newline="", encoding="utf-8") as file:
            assert list(csv.reader(file)) == [
                ["name", "val/accuracy"],
                [rows["a"][0], "0.123456789"],
            ]


def test_commands_of_ticked_rows_are_copied_and_compared(browser, html_file):
    with open_page(browser, html_file, permissions=["clipboard-read", "clipboard-write"]) as page:
        tick(page, 0, 1)
        button(page, "Copy 2 commands").click()
        page.get_by_text("Copied").wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == "python scripts/train.py seed=58\npython scripts/train.py seed=57"
        href = page.get_by_role("link", name="Compare").get_attribute("href")
        assert href == "/compare?run=runs%2F58&run=runs%2F57"


def test_brushed_rows_of_the_named_chart_remain(browser, tmp_path):
    file = write_page(tmp_path / "page.html", runs=make_table(brushed_by="parallel"))
    with open_page(browser, file) as page:
        send = (
            "({ chart, rows }) => document.dispatchEvent(new CustomEvent('brushed',"
            " { detail: { chart, rows: new Set(rows) } }))"
        )
        page.evaluate(send, {"chart": "parallel", "rows": ["runs/3", "runs/4"]})
        assert cells(page, 0) == ["run 4", "run 3"]
        page.evaluate(send, {"chart": "other", "rows": []})
        assert num_shown(page) == "2 of 60"


def test_updates_keep_what_the_reader_has_done(browser, html_file):
    table = make_table()
    with open_page(browser, html_file) as page:
        page.get_by_role("columnheader", name="Loss").get_by_role("button").click()
        page.get_by_role("searchbox", name="Search Runs").press_sequentially("finished")
        tick(page, 0)
        button(page, "Curves").click()
        wait_for_chart(page, "curves", "plot.data.length === 1")
        page.evaluate(
            "Plotly.relayout(document.querySelector('#chart-runs-curves .plot'),"
            " {'xaxis.range': [1.5, 2.5]})"
        )
        button(page, "Next").click()
        page.get_by_role("searchbox", name="Search Runs").focus()
        unchanged = page.locator("tbody tr").nth(5).element_handle()
        changed = json.loads(table.row("runs/20"))
        changed[0][0][0], changed[0][3] = "run 20 changed", 1.4901
        new = [["new", None], "finished", 0.1, 0.001, 1, [], "sgd", 1, 0, ""]
        page.evaluate(
            "(rows) => updateTable('runs', null, rows, ['runs/0'])",
            {"runs/20": changed, "x": [new]},
        )
        assert num_shown(page) == "54 of 60"
        assert "Page 2 of 3" in page.locator(".pager").inner_text()
        assert page.evaluate("document.activeElement.value") == "finished"
        assert page.get_by_text("1 ticked").is_visible()
        assert unchanged.evaluate("(row) => row.isConnected")
        button(page, "Previous").click()
        assert cells(page, 0)[0] == "new"
        assert search(page, "changed") == "1 of 60"
        page.wait_for_timeout(300)
        assert page.evaluate(
            "document.querySelector('#chart-runs-curves .plot').layout.xaxis.range"
        ) == [1.5, 2.5]


def test_focus_stays_in_a_row_that_is_replaced(browser, html_file):
    with open_page(browser, html_file) as page:
        page.locator("tbody input").nth(1).focus()
        row = json.loads(make_table().row("runs/57"))
        page.evaluate("(row) => updateTable('runs', null, { 'runs/57': row })", row)
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focused == "Tick run 57"


@pytest.mark.parametrize("is_explorable", [True, False])
def test_strings_of_any_kind_stay_text(browser, tmp_path, is_explorable):
    kinds = [
        "link",
        "status",
        "number",
        "percent",
        "duration",
        "time",
        "sparkline",
        "integer",
        "text",
    ]
    columns = [Column(f"{kind} {XSS_STRING}", XSS_STRING, kind) for kind in kinds]
    columns.append(Column("__proto__", "__proto__"))
    values = (
        XSS_STRING, {"a": [1]}, [[XSS_STRING, "javascript:alert(1)"]], [None, None], [], True,
        float("nan"), 1e300, -5, None, [XSS_STRING],
    )  # fmt: skip
    rows = {f"{index}{XSS_STRING}": [value] * len(columns) for index, value in enumerate(values)}
    rows |= {"__proto__": ["x"], "constructor": []}
    curves = {next(iter(rows)): {"epoch": [1, None, 3], XSS_STRING: [float("inf"), 2, 3, 4]}}
    table = make_table(
        rows=rows, columns=columns, curves=curves, is_explorable=is_explorable, sort="__proto__"
    )
    with open_page(browser, write_page(tmp_path / "page.html", runs=table)) as page:
        assert page.locator("tbody tr").count() == len(rows)
        for header in page.locator("thead button").all():
            header.click()
        if is_explorable:
            page.get_by_label("Group by").select_option(index=1)
            button(page, "Curves").click()
            button(page, "Scatter plot").click()
            page.locator("summary").click()
            page.get_by_role("checkbox", name="Tick all rows").check()
            page.wait_for_timeout(500)
        assert page.locator("img, a[href^=javascript]").count() == 0


def test_names_stay_in_view_on_a_phone(browser, html_file):
    with open_page(browser, html_file, width=360) as page:
        page.locator(".scroll").evaluate("(each) => { each.scrollLeft = 400; }")
        assert page.locator("tbody th").first.bounding_box()["x"] < 40
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_all_filtered_rows_are_printed_without_controls(browser, html_file):
    with open_page(browser, html_file) as page:
        search(page, "finished")
        page.emulate_media(media="print")
        page.wait_for_function("document.querySelectorAll('tbody tr').length === 54")
        assert not page.locator(".controls, .pager").first.is_visible()
        page.emulate_media(media="screen")
        page.wait_for_function("document.querySelectorAll('tbody tr').length === 25")


def test_head_is_json_also_of_values_that_are_none():
    table = Table(columns=[Column("a", "A")], rows={"x": [float("nan"), 1e400]})
    assert json.loads(table.row("x")) == [[None, None]]
