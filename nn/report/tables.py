"""Tables: typed columns and rows, which tables.js sorts, searches, filters, groups and exports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

from nn.io.serialization import to_json

ColumnKind: TypeAlias = Literal[
    "text", "link", "status", "integer", "number", "percent", "duration", "time", "sparkline"
]
"""How the values of a column are shown.

A link is `[text, url]`, with null for a url that does not exist; a duration is in seconds, a time
is a POSIX timestamp, a sparkline a list of numbers, a text any setting: a column of numbers only is
numeric. Null is shown as a dash in each of them.
"""


@dataclass(frozen=True)
class Column:
    """A column; one that is not shown at first can be chosen by the reader.

    The first is the name of a row, and is always shown. From a column with the key `command` the
    commands of ticked rows can be copied.
    """

    key: str
    title: str
    kind: ColumnKind = "text"
    is_shown: bool = True


Cells: TypeAlias = dict[Column, Sequence[object]]
"""The values of each column, one per row, which JSON can represent."""
Curves: TypeAlias = Mapping[str, Sequence[float | None]]
"""Lists of equal length by name: epoch, seconds and samples are x axes, all others y axes."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of rows by their ids.

    Attributes:
        sort: Key of the column by which rows are sorted at first, after a `-` in descending order.
            Without it they have their own order, but ids that are integers are in numerical order.
        group_by: Key of the column by which rows are grouped at first.
        page_size: Rows per page; None shows all at once.
        is_explorable: Whether the reader can also filter, group, plot, tick and export rows, as
            makes sense for runs and trials.
        curves: Of runs or trials, by row.
        brushed_by: Name of the parallel coordinates whose selection filters the rows.
    """

    columns: Sequence[Column]
    rows: Mapping[str, Sequence[object]]
    sort: str | None = None
    group_by: str | None = None
    page_size: int | None = None
    is_explorable: bool = False
    curves: Mapping[str, Curves] = field(default_factory=dict)
    brushed_by: str | None = None

    def head(self) -> str:
        """Return all but the rows and curves as JSON."""
        return _to_json(
            {
                "columns": [asdict(column) for column in self.columns],
                "sort": self.sort,
                "groupBy": self.group_by,
                "pageSize": self.page_size,
                "isExplorable": self.is_explorable,
                "brushedBy": self.brushed_by,
            }
        )

    def row(self, row_id: str) -> str:
        """Return the values and the curves of a row as JSON."""
        curves = self.curves.get(row_id)
        return _to_json([self.rows[row_id], curves] if curves else [self.rows[row_id]])


def tabulate(columns: Sequence[Column], records: Sequence[Mapping[str, object]]) -> Table:
    """Return the table of records, whose keys are those of the columns."""
    rows = {str(n): [each[column.key] for column in columns] for n, each in enumerate(records)}
    return Table(columns=columns, rows=rows, page_size=40)


def join_cells(cells: Cells, ids: Iterable[str]) -> dict[str, Sequence[object]]:
    """Return the rows by their ids."""
    return dict(zip(ids, zip(*cells.values(), strict=True), strict=True))


def _to_json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:  # NaN or an infinity
        return to_json(value)
