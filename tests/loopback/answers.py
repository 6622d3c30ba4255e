"""Execute a GraphQL document on nodes: dictionaries of each type's fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.loopback.language import Document, Field, Spread, Variable

Given = Mapping[str, Any]
Node = Mapping[str, Any]
"""The value of a field, or a function that computes it from the field's arguments."""

KINDS = {"ArtifactSequence": "ArtifactCollection"}
"""The interface that each type implements."""


class Unknown(Exception):
    """The fake server does not implement this request."""


class Refused(Exception):
    """An error response of W&B's API: a status and a message."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass
class Answer:
    """The execution of one document, starting from a root node."""

    document: Document
    variables: Mapping[str, Any]

    def of(self, root: Node) -> dict[str, Any]:
        return self.select(root, self.document.selection)

    def select(self, node: Node, selection: Sequence[Field | Spread]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in selection:
            if not self.included(each):
                continue
            if isinstance(each, Field):
                found[each.key] = self.field(node, each)
            elif self.matches(node, each):
                there = self.document.fragments[each.fragment] if each.fragment else each
                found |= self.select(node, there.selection)
        return found

    def field(self, node: Node, field: Field) -> Any:
        if field.name not in node:
            kind = node.get("__typename", "Query or Mutation")
            raise Unknown(f"{self.document.name}: {field.name} of {kind}")
        value = node[field.name]
        if callable(value):
            value = value(self.filled(field.arguments))
        return self.complete(value, field)

    def complete(self, value: Any, field: Field) -> Any:
        if isinstance(value, list):
            return [self.complete(each, field) for each in value]
        return self.select(value, field.selection) if value and field.selection else value

    def matches(self, node: Node, spread: Spread) -> bool:
        kind = node["__typename"]
        return bool(spread.fragment) or spread.condition in (None, kind, KINDS.get(kind))

    def included(self, each: Field | Spread) -> bool:
        conditions = {name: self.filled(given)["if"] for name, given in each.directives.items()}
        return conditions.get("include", True) and not conditions.get("skip", False)

    def filled(self, value: Any) -> Any:
        """Substitute values for variables; a variable that was not sent drops its argument."""
        if isinstance(value, Variable):
            return self.variables.get(value.name, self.document.defaults.get(value.name))
        if isinstance(value, dict):
            return {key: self.filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.filled(each) for each in value]
        return value


def connection(
    nodes: Sequence[Any],
    shown: Callable[[Any], Node],
    kind: str,
    beside: Callable[[Any], Node] = lambda _: {},
) -> Callable[[Given], Node]:
    """Paginate a list; `beside` adds fields to an edge next to its node."""

    def page(given: Given) -> Node:
        begin = int(given.get("after") or 0)
        end = begin + int(given.get("first") or 1000)
        edges = [
            {
                "__typename": f"{kind}Edge",
                "node": shown(each),
                "cursor": str(number),
                **beside(each),
            }
            for number, each in enumerate(nodes[begin:end], begin + 1)
        ]
        more = {
            "__typename": "PageInfo",
            "endCursor": str(begin + len(edges)),
            "hasNextPage": end < len(nodes),
        }
        return {
            "__typename": f"{kind}Connection",
            "edges": edges,
            "pageInfo": more,
            "totalCount": len(nodes),
        }

    return page
