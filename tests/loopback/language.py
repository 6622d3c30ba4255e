"""A parser for the GraphQL documents that the client sends."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

TOKEN = re.compile(
    r"""[\s,]+|\#[^\n]*|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>\.\.\.|[$!(){}:=@\[\]])"""
)
CONSTANTS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Variable:
    """A reference to a value that is sent along with the document."""

    name: str


@dataclass
class Field:
    """A requested field with its arguments and selection set."""

    key: str
    name: str
    arguments: dict[str, Any]
    directives: dict[str, dict[str, Any]]
    selection: list[Field | Spread]


@dataclass
class Spread:
    """A named fragment (`...Name`) or an inline one with a type condition (`... on Type`)."""

    fragment: str | None
    condition: str | None
    directives: dict[str, dict[str, Any]]
    selection: list[Field | Spread]


@dataclass
class Document:
    """One operation and the fragments that it uses."""

    name: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    selection: list[Field | Spread] = field(default_factory=list)
    fragments: dict[str, Spread] = field(default_factory=dict)


def parse(text: str) -> Document:
    """Parse a document of one operation."""
    return _Reader(text).document()


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise ValueError(f"no GraphQL: {text[at : at + 20]!r}")
            if match.lastgroup:
                self.tokens.append((match.lastgroup, match.group()))
            at = match.end()
        self.at = 0

    @property
    def next(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.next
        if not token or (expected and token != expected):
            raise ValueError(f"no GraphQL: {token!r} in place of {expected!r}")
        self.at += 1
        return token

    def took(self, sign: str) -> bool:
        if self.next == sign:
            self.at += 1
            return True
        return False

    def document(self) -> Document:
        found = Document()
        while self.next:
            kind = "query" if self.next == "{" else self.take()
            if kind == "fragment":
                name = self.take()
                self.take("on")
                found.fragments[name] = Spread(name, self.take(), {}, self.selection())
            else:
                found.name = "" if self.next in "({" else self.take()
                found.defaults = self.variables()
                found.selection = self.selection()
        return found

    def variables(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {}
        if self.took("("):
            while not self.took(")"):
                self.take("$")
                name = self.take()
                self.take(":")
                while self.next in ("[", "]", "!") or self.tokens[self.at][0] == "name":
                    self.take()
                if self.took("="):
                    defaults[name] = self.value()
        return defaults

    def selection(self) -> list[Field | Spread]:
        found: list[Field | Spread] = []
        if self.took("{"):
            while not self.took("}"):
                found.append(self.spread() if self.took("...") else self.field())
        return found

    def spread(self) -> Spread:
        if self.took("on"):
            return Spread(None, self.take(), self.directives(), self.selection())
        if self.next in "@{":
            return Spread(None, None, self.directives(), self.selection())
        return Spread(self.take(), None, self.directives(), [])

    def field(self) -> Field:
        key = name = self.take()
        if self.took(":"):
            name = self.take()
        return Field(key, name, self.arguments(), self.directives(), self.selection())

    def directives(self) -> dict[str, dict[str, Any]]:
        found = {}
        while self.took("@"):
            name = self.take()
            found[name] = self.arguments()
        return found

    def arguments(self) -> dict[str, Any]:
        return self.pairs(")") if self.took("(") else {}

    def pairs(self, end: str) -> dict[str, Any]:
        found = {}
        while not self.took(end):
            name = self.take()
            self.take(":")
            found[name] = self.value()
        return found

    def value(self) -> Any:
        kind, token = self.tokens[self.at]
        self.at += 1
        if token == "$":
            return Variable(self.take())
        if token == "{":
            return self.pairs("}")
        if token == "[":
            found = []
            while not self.took("]"):
                found.append(self.value())
            return found
        return json.loads(token) if kind != "name" else CONSTANTS.get(token, token)
