"""Tables that can be sorted, searched and turned page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nn.report.formatting import MISSING
from nn.report.markup import Markup, element


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by."""

    content: object
    sort_value: object = None


@dataclass(frozen=True)
class Column:
    """A column's title, and whether it holds numbers."""

    title: str
    is_numeric: bool = True


def build_table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    rows_per_page: int | None = None,
    has_search: bool = False,
    filter_options: Sequence[str] = (),
    row_ids: Sequence[object] | None = None,
    element_id: str | None = None,
) -> Markup:
    """Build a table; `paged` rows are shown at a time, `choices` are values to choose rows by."""
    head = [
        element(
            "th",
            element("button", column.title, type="button"),
            scope="col",
            class_="number" if column.is_numeric else None,
        )
        for column in columns
    ]
    body = [
        element("tr", _build_cells(row, columns), data_row=row_ids[number] if row_ids else None)
        for number, row in enumerate(rows)
    ]
    return element(
        "div",
        _filter_controls(caption, filter_options) if has_search else None,
        element(
            "div",
            element(
                "table",
                element("caption", caption),
                element("thead", element("tr", head)),
                element("tbody", body),
            ),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label=caption,
        ),
        element("div", class_="pager"),
        class_="table",
        data_paged=rows_per_page,
        id=element_id,
    )


def definition_list(items: Sequence[tuple[str, object]], caption: str) -> Markup:
    """List names with their values."""
    return element(
        "dl",
        [
            element("div", element("dt", name), element("dd", MISSING if value is None else value))
            for name, value in items
        ],
        class_="pairs",
        aria_label=caption,
    )


def _build_cells(row: Sequence[Cell], columns: Sequence[Column]) -> Iterator[Markup]:
    """Build the cells of a row, the first as what the row is about."""
    for place, (cell, column) in enumerate(zip(row, columns, strict=True)):
        numeric = "number" if column.is_numeric else None
        if place == 0:
            yield element(
                "th", cell.content, scope="row", class_=numeric, data_value=cell.sort_value
            )
        else:
            yield element("td", cell.content, class_=numeric, data_value=cell.sort_value)


def _filter_controls(caption: str, filter_options: Sequence[str]) -> Markup:
    field = element(
        "input", type="search", placeholder="Filter rows", aria_label=f"Filter {caption}"
    )
    options = [element("option", "all states", value="")] + [
        element("option", choice, value=choice) for choice in filter_options
    ]
    chooser = filter_options and element("select", options, aria_label="Show rows that are")
    count = element("output", aria_live="polite")
    return element("div", field, chooser, count, class_="controls")
