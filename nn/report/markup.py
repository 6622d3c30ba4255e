"""HTML built from elements, in which every plain string is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from nn.report.paths import shorten_paths

VOID_ELEMENTS = {"img", "input", "link", "meta"}
URL_ATTRIBUTES = {"href", "src"}


class Markup(str):
    """Trusted HTML; any other string is escaped, and paths in it shortened, when it is inserted."""

    __slots__ = ()


def element(name: str, /, *content: object, **attributes: object) -> Markup:
    """Build an element from content and attributes, with `_` for `-` in attribute names.

    None and False omit a piece of content or an attribute; True gives an attribute without value.
    """
    opening = f"<{name}{''.join(map(_format_attribute, attributes.items()))}>"
    return Markup(opening if name in VOID_ELEMENTS else f"{opening}{join_html(content)}</{name}>")


def join_html(content: Iterable[object]) -> Markup:
    """Concatenate pieces of HTML, nested iterables included."""
    return Markup("".join(map(_to_html, content)))


def _to_html(piece: object) -> str:
    if isinstance(piece, Markup):
        return piece
    if piece is None or piece is False:
        return ""
    if isinstance(piece, Iterable) and not isinstance(piece, str):
        return join_html(piece)
    return escape(shorten_paths(str(piece)), quote=False)


def _format_attribute(item: tuple[str, object]) -> str:
    name, value = item[0].rstrip("_").replace("_", "-"), item[1]
    if value is None or value is False:
        return ""
    text = str(value) if name in URL_ATTRIBUTES else shorten_paths(str(value))
    return f" {name}" if value is True else f' {name}="{escape(text)}"'
