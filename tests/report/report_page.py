"""A report page, read back."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np

from nn.report.page import Page


class ReportPage:
    """A page with what a browser shows of it: its text, charts and tables."""

    def __init__(self, source: Path | Page) -> None:
        self.html = source.to_html() if isinstance(source, Page) else source.read_text("utf-8")

    @property
    def text(self) -> str:
        """The visible text."""
        without_scripts = re.sub(r"<(script|style)\b.*?</\1>", " ", self.html, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", without_scripts)).split())

    @property
    def key_figures(self) -> dict[str, float]:
        """The key figures at the top of the page, by name, unrounded."""
        matches = re.findall(r"<dt>([^<]*)</dt><dd><data value=\"([^\"]*)\">", self.html)
        return {unescape(name): float(value) for name, value in matches}

    @cached_property
    def payload(self) -> Any:
        """Charts and tables by name, with arrays as lists."""
        found = re.search(r'<script[^>]* id="payload">(.*?)</script>', self.html, re.DOTALL)
        assert found
        return json.loads(found[1], object_hook=_decode_array)

    @property
    def charts(self) -> dict[str, Any]:
        """The Plotly figure of each chart on the page."""
        charts: dict[str, Any] = self.payload["charts"]
        assert set(charts) == set(re.findall(r'id="chart-([^"]+)"', self.html))
        return charts

    @property
    def sections(self) -> list[str]:
        return re.findall(r'<section id="([^"]+)"', self.html)

    def table_rows(self, table: str) -> list[list[Any]]:
        """Return the values of a table, row by row."""
        assert f'id="table-{table}"' in self.html
        return [row[0] for row in self.payload["tables"][table][1].values()]


def _decode_array(value: dict[str, Any]) -> Any:
    """Decode an array of numbers, which Plotly writes as base64, with None in place of NaN."""
    if value.keys() - {"shape"} != {"bdata", "dtype"}:
        return value
    array = np.frombuffer(b64decode(value["bdata"]), value["dtype"])
    if "shape" in value:
        array = array.reshape([int(size) for size in value["shape"].split(",")])
    numbers = array.astype(object)
    numbers[np.isnan(array)] = None
    return numbers.tolist()
