"""HTML that is built from elements, so that a text can only ever be a text in it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from nn.report.paths import shorten

VOID = {"img", "input", "link", "meta"}
ADDRESSES = {"href", "src"}


class Markup(str):
    """HTML; in any other text paths are shortened, and it is escaped, before it joins a page."""

    __slots__ = ()


def element(name: str, /, *content: Any, **attributes: Any) -> Markup:
    """Build an element; None and False leave content or an attribute out, True names it alone."""
    opening = f"<{name}{''.join(map(_attribute, attributes.items()))}>"
    return Markup(opening if name in VOID else f"{opening}{join(content)}</{name}>")


def join(content: Iterable[Any]) -> Markup:
    """Put pieces of a page one after another."""
    return Markup("".join(map(_piece, content)))


def _piece(piece: Any) -> str:
    if isinstance(piece, Markup):
        return piece
    if piece is None or piece is False:
        return ""
    if isinstance(piece, Iterable) and not isinstance(piece, str):
        return join(piece)
    return escape(shorten(str(piece)), quote=False)


def _attribute(item: tuple[str, Any]) -> str:
    name, value = item[0].rstrip("_").replace("_", "-"), item[1]
    if value is None or value is False:
        return ""
    text = str(value) if name in ADDRESSES else shorten(str(value))
    return f" {name}" if value is True else f' {name}="{escape(text)}"'
