"""A parser for the GraphQL documents that the client sends."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

TOKEN_PATTERN = re.compile(
    r"""[\s,]+|\#[^\n]*|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>\.\.\.|[$!(){}:=@\[\]])"""
)
KEYWORD_VALUES = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Variable:
    """A reference to a value that is sent along with the document."""

    name: str


@dataclass
class Field:
    """A requested field with its arguments and selection set."""

    response_key: str
    name: str
    arguments: dict[str, Any]
    directives: dict[str, dict[str, Any]]
    selection_set: list[Field | FragmentSpread]


@dataclass
class FragmentSpread:
    """A named fragment (`...Name`) or an inline one with a type condition (`... on Type`)."""

    fragment_name: str | None
    type_condition: str | None
    directives: dict[str, dict[str, Any]]
    selection_set: list[Field | FragmentSpread]


@dataclass
class Document:
    """One operation and the fragments that it uses."""

    operation_name: str = ""
    variable_defaults: dict[str, Any] = field(default_factory=dict)
    selection_set: list[Field | FragmentSpread] = field(default_factory=list)
    fragments: dict[str, FragmentSpread] = field(default_factory=dict)


def parse(text: str) -> Document:
    """Parse a document of one operation."""
    return _Parser(text).parse_document()


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text):
            match = TOKEN_PATTERN.match(text, position)
            if match is None:
                raise ValueError(f"no GraphQL: {text[position : position + 20]!r}")
            if match.lastgroup:
                self.tokens.append((match.lastgroup, match.group()))
            position = match.end()
        self.position = 0

    @property
    def peek(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def expect(self, expected: str = "") -> str:
        token = self.peek
        if not token or (expected and token != expected):
            raise ValueError(f"no GraphQL: {token!r} in place of {expected!r}")
        self.position += 1
        return token

    def accept(self, sign: str) -> bool:
        if self.peek == sign:
            self.position += 1
            return True
        return False

    def parse_document(self) -> Document:
        document = Document()
        while self.peek:
            keyword = "query" if self.peek == "{" else self.expect()
            if keyword == "fragment":
                name = self.expect()
                self.expect("on")
                document.fragments[name] = FragmentSpread(
                    name, self.expect(), {}, self.parse_selection_set()
                )
            else:
                document.operation_name = "" if self.peek in "({" else self.expect()
                document.variable_defaults = self.parse_variables()
                document.selection_set = self.parse_selection_set()
        return document

    def parse_variables(self) -> dict[str, Any]:
        defaults: dict[str, Any] = {}
        if self.accept("("):
            while not self.accept(")"):
                self.expect("$")
                name = self.expect()
                self.expect(":")
                while self.peek in ("[", "]", "!") or self.tokens[self.position][0] == "name":
                    self.expect()
                if self.accept("="):
                    defaults[name] = self.parse_value()
        return defaults

    def parse_selection_set(self) -> list[Field | FragmentSpread]:
        selection_set: list[Field | FragmentSpread] = []
        if self.accept("{"):
            while not self.accept("}"):
                selection_set.append(
                    self.parse_fragment_spread() if self.accept("...") else self.parse_field()
                )
        return selection_set

    def parse_fragment_spread(self) -> FragmentSpread:
        if self.accept("on"):
            return FragmentSpread(
                None, self.expect(), self.parse_directives(), self.parse_selection_set()
            )
        if self.peek in "@{":
            return FragmentSpread(None, None, self.parse_directives(), self.parse_selection_set())
        return FragmentSpread(self.expect(), None, self.parse_directives(), [])

    def parse_field(self) -> Field:
        key = name = self.expect()
        if self.accept(":"):
            name = self.expect()
        return Field(
            key, name, self.parse_arguments(), self.parse_directives(), self.parse_selection_set()
        )

    def parse_directives(self) -> dict[str, dict[str, Any]]:
        directives = {}
        while self.accept("@"):
            name = self.expect()
            directives[name] = self.parse_arguments()
        return directives

    def parse_arguments(self) -> dict[str, Any]:
        return self.parse_pairs(")") if self.accept("(") else {}

    def parse_pairs(self, end: str) -> dict[str, Any]:
        pairs = {}
        while not self.accept(end):
            name = self.expect()
            self.expect(":")
            pairs[name] = self.parse_value()
        return pairs

    def parse_value(self) -> Any:
        token_type, token = self.tokens[self.position]
        self.position += 1
        if token == "$":
            return Variable(self.expect())
        if token == "{":
            return self.parse_pairs("}")
        if token == "[":
            items = []
            while not self.accept("]"):
                items.append(self.parse_value())
            return items
        return json.loads(token) if token_type != "name" else KEYWORD_VALUES.get(token, token)
