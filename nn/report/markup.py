"""HTML that is built from elements, so that a text can only ever be a text in it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from nn.report.paths import shorten_paths

VOID_ELEMENTS = {"img", "input", "link", "meta"}
URL_ATTRIBUTES = {"href", "src"}


class Markup(str):
    """HTML; in any other text paths are shortened, and it is escaped, before it joins a page."""

    __slots__ = ()


def element(name: str, /, *content: Any, **attributes: Any) -> Markup:
    """Build an element; None and False leave content or an attribute out, True names it alone."""
    opening = f"<{name}{''.join(map(_format_attribute, attributes.items()))}>"
    return Markup(opening if name in VOID_ELEMENTS else f"{opening}{join_html(content)}</{name}>")


def join_html(content: Iterable[Any]) -> Markup:
    """Put pieces of a page one after another."""
    return Markup("".join(map(_to_html, content)))


def _to_html(piece: Any) -> str:
    if isinstance(piece, Markup):
        return piece
    if piece is None or piece is False:
        return ""
    if isinstance(piece, Iterable) and not isinstance(piece, str):
        return join_html(piece)
    return escape(shorten_paths(str(piece)), quote=False)


def _format_attribute(item: tuple[str, Any]) -> str:
    name, value = item[0].rstrip("_").replace("_", "-"), item[1]
    if value is None or value is False:
        return ""
    text = str(value) if name in URL_ATTRIBUTES else shorten_paths(str(value))
    return f" {name}" if value is True else f' {name}="{escape(text)}"'
