"""A report page, read back."""

from __future__ import annotations

import json
import re
from html import unescape


class Page:
    def __init__(self, path):
        self.html = path.read_text(encoding="utf-8")

    @property
    def text(self):
        """The visible text."""
        bare = re.sub(r"<(script|style)\b.*?</\1>", " ", self.html, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", bare)).split())

    @property
    def figures(self):
        """The key figures at the top of the page, by name, unrounded."""
        found = re.findall(r"<dt>([^<]*)</dt><dd><data value=\"([^\"]*)\">", self.html)
        return {unescape(name): float(value) for name, value in found}

    @property
    def charts(self):
        """The Plotly figure of each chart."""
        pattern = r'<figure class="chart" id="chart-([^"]+)">(.*?)</figure>'
        return {
            name: json.loads(re.search(r"<script[^>]*>(.*?)</script>", body, re.DOTALL)[1])
            for name, body in re.findall(pattern, self.html, re.DOTALL)
        }

    @property
    def sections(self):
        return re.findall(r'<section id="([^"]+)"', self.html)

    def rows(self, table):
        """Return the values of a table, row by row."""
        place = self.html.index(f'id="{table}"')
        start = self.html.rfind('<div class="table"', 0, place + 1)
        body = re.search(r"<tbody>(.*?)</tbody>", self.html[start:], re.DOTALL)[1]
        return [
            [unescape(value) for value in re.findall(r'<t[hd][^>]*data-value="([^"]*)"', row)]
            for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
        ]
