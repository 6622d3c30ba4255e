"""Text on a page stays text, whatever it contains."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from nn.report.chart import json_script
from nn.report.markup import element


class MarkupCollector(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.attributes = [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def parse_markup(markup):
    parser = MarkupCollector()
    parser.feed(markup)
    parser.close()
    return parser


printable_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(printable_text, printable_text)
def test_text_and_attributes_round_trip(text, value):
    found = parse_markup(element("p", text, title=value))
    assert found.tags == ["p"]
    assert found.text == text
    assert found.attributes == [("title", value)]


def test_nested_elements_are_kept_and_empty_values_dropped():
    shown = element("ul", [element("li", each) for each in (1, "<b>")], None, False, id="x")
    assert shown == '<ul id="x"><li>1</li><li>&lt;b&gt;</li></ul>'
    assert element("button", "on", disabled=True, hidden=False, aria_label=None) == (
        "<button disabled>on</button>"
    )


@given(st.recursive(st.text() | st.integers(), st.lists))
def test_embedded_data_cannot_close_its_element(content):
    inside = re.fullmatch(r"<script [^>]*>(.*)</script>", json_script(content), re.DOTALL)[1]
    assert not set("<>&") & set(inside)
    assert json.loads(inside) == content
