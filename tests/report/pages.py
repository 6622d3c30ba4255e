"""A page, read back."""

from __future__ import annotations

import json
import re
from html import unescape


class Page:
    def __init__(self, path):
        self.html = path.read_text(encoding="utf-8")

    @property
    def text(self):
        """What a reader reads."""
        bare = re.sub(r"<(script|style)\b.*?</\1>", " ", self.html, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", bare)).split())

    @property
    def figures(self):
        """The figures at the head, by name, exactly."""
        found = re.findall(r"<dt>([^<]*)</dt><dd><data value=\"([^\"]*)\">", self.html)
        return {unescape(name): float(value) for name, value in found}

    @property
    def charts(self):
        """What each chart is made of."""
        pattern = r'<figure class="chart" id="chart-([^"]+)">(.*?)</figure>'
        return {
            name: json.loads(re.search(r"<script[^>]*>(.*?)</script>", body, re.DOTALL)[1])
            for name, body in re.findall(pattern, self.html, re.DOTALL)
        }

    @property
    def sections(self):
        return re.findall(r'<section id="([^"]+)"', self.html)

    def rows(self, table):
        """The values of a table, row by row."""
        place = self.html.index(f'id="{table}"')
        start = self.html.rfind('<div class="table"', 0, place + 1)
        body = re.search(r"<tbody>(.*?)</tbody>", self.html[start:], re.DOTALL)[1]
        return [
            [unescape(value) for value in re.findall(r'<t[hd][^>]*data-value="([^"]*)"', row)]
            for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
        ]
