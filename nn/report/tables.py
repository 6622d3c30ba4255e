"""HTML tables that tables.js makes sortable, searchable and paginated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nn.report.formatting import MISSING
from nn.report.markup import Markup, element


@dataclass(frozen=True)
class Cell:
    """The content of a cell and the value that it is sorted by."""

    content: object
    sort_value: object = None  # None sorts by the content


@dataclass(frozen=True)
class Column:
    """A column header; numeric columns are right-aligned."""

    title: str
    is_numeric: bool = True


def build_table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    rows_per_page: int | None = None,
    *,
    has_search: bool = False,
    filter_options: Sequence[str] = (),
    row_ids: Sequence[object] | None = None,
    element_id: str | None = None,
) -> Markup:
    """Render a table.

    Args:
        caption: Name of the table for screen readers.
        columns: Column headers.
        rows: Cells by row; the first cell of a row is its header.
        rows_per_page: Page size; None shows all rows at once.
        has_search: Whether to add a search field, and a filter if there are `filter_options`.
        filter_options: Cell texts by which rows can be filtered.
        row_ids: An id per row, by which a chart can select rows.
        element_id: HTML id of the table.
    """
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
        element("tr", _build_cells(row, columns), data_row=row_ids[index] if row_ids else None)
        for index, row in enumerate(rows)
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
    """Render names with their values."""
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
    """Render the cells of a row, the first as the row's header."""
    for index, (cell, column) in enumerate(zip(row, columns, strict=True)):
        css_class = "number" if column.is_numeric else None
        if index == 0:
            yield element(
                "th", cell.content, scope="row", class_=css_class, data_value=cell.sort_value
            )
        else:
            yield element("td", cell.content, class_=css_class, data_value=cell.sort_value)


def _filter_controls(caption: str, filter_options: Sequence[str]) -> Markup:
    field = element("input", type="search", placeholder="Search", aria_label=f"Search {caption}")
    options = [element("option", "all states", value="")] + [
        element("option", option, value=option) for option in filter_options
    ]
    select = filter_options and element("select", options, aria_label="Filter by state")
    count = element("output", aria_live="polite")
    return element("div", field, select, count, class_="controls")
