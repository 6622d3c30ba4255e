"""A report page, read back."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any


def search(pattern: str, html: str) -> str:
    found = re.search(pattern, html, re.DOTALL)
    assert found
    return found[1]


class ReportPage:
    def __init__(self, path: Path) -> None:
        self.html = path.read_text(encoding="utf-8")

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

    @property
    def charts(self) -> dict[str, Any]:
        """The Plotly figure of each chart."""
        pattern = r'<figure class="chart" id="chart-([^"]+)">(.*?)</figure>'
        return {
            name: json.loads(search(r"<script[^>]*>(.*?)</script>", body))
            for name, body in re.findall(pattern, self.html, re.DOTALL)
        }

    @property
    def sections(self) -> list[str]:
        return re.findall(r'<section id="([^"]+)"', self.html)

    def table_rows(self, table: str) -> list[list[str]]:
        """Return the values of a table, row by row."""
        table_start = self.html.index(f'id="{table}"')
        start = self.html.rfind('<div class="table"', 0, table_start + 1)
        body = search(r"<tbody>(.*?)</tbody>", self.html[start:])
        return [
            [unescape(value) for value in re.findall(r'<t[hd][^>]*data-value="([^"]*)"', row)]
            for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
        ]
