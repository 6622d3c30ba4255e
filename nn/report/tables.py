"""Tables that can be sorted, searched and turned page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nn.report.formatting import MISSING
from nn.report.markup import Markup, element


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it is sorted by."""

    shown: object
    value: object = None


@dataclass(frozen=True)
class Column:
    """A column's title, and whether it holds numbers."""

    title: str
    numeric: bool = True


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    paged: int | None = None,
    sought: bool = False,
    choices: Sequence[str] = (),
    row_ids: Sequence[object] | None = None,
    name: str | None = None,
) -> Markup:
    """Build a table; `paged` rows are shown at a time, `choices` are values to choose rows by."""
    head = [
        element(
            "th",
            element("button", column.title, type="button"),
            scope="col",
            class_="number" if column.numeric else None,
        )
        for column in columns
    ]
    body = [
        element("tr", _cells(row, columns), data_row=row_ids[number] if row_ids else None)
        for number, row in enumerate(rows)
    ]
    return element(
        "div",
        _controls(caption, choices) if sought else None,
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
        data_paged=paged,
        id=name,
    )


def pairs(content: Sequence[tuple[str, object]], caption: str) -> Markup:
    """List names with their values."""
    return element(
        "dl",
        [
            element("div", element("dt", name), element("dd", MISSING if value is None else value))
            for name, value in content
        ],
        class_="pairs",
        aria_label=caption,
    )


def _cells(row: Sequence[Cell], columns: Sequence[Column]) -> Iterator[Markup]:
    """Build the cells of a row, the first as what the row is about."""
    for place, (cell, column) in enumerate(zip(row, columns, strict=True)):
        numeric = "number" if column.numeric else None
        if place == 0:
            yield element("th", cell.shown, scope="row", class_=numeric, data_value=cell.value)
        else:
            yield element("td", cell.shown, class_=numeric, data_value=cell.value)


def _controls(caption: str, choices: Sequence[str]) -> Markup:
    field = element(
        "input", type="search", placeholder="Filter rows", aria_label=f"Filter {caption}"
    )
    options = [element("option", "all states", value="")] + [
        element("option", choice, value=choice) for choice in choices
    ]
    chooser = choices and element("select", options, aria_label="Show rows that are")
    count = element("output", aria_live="polite")
    return element("div", field, chooser, count, class_="controls")
