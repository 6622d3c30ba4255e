"""Execute a GraphQL document on nodes: dictionaries of each type's fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fake_wandb.graphql_parser import Document, Field, FragmentSpread, Variable

Args = Mapping[str, Any]
Node = Mapping[str, Any]
"""The value of a field, or a function that computes it from the field's arguments."""

INTERFACES = {"ArtifactSequence": "ArtifactCollection"}
"""The interface that each type implements."""


class UnsupportedError(Exception):
    """The fake server does not implement this request."""


class ApiError(Exception):
    """An error response of W&B's API: a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Execution:
    """The execution of one document, starting from a root node."""

    document: Document
    variables: Mapping[str, Any]

    def execute(self, root: Node) -> dict[str, Any]:
        return self.execute_selection_set(root, self.document.selection_set)

    def execute_selection_set(
        self, node: Node, selection: Sequence[Field | FragmentSpread]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for selected in selection:
            if not self.should_include(selected):
                continue
            if isinstance(selected, Field):
                result[selected.response_key] = self.execute_field(node, selected)
            elif self.fragment_applies(node, selected):
                fragment = (
                    self.document.fragments[selected.fragment_name]
                    if selected.fragment_name
                    else selected
                )
                result |= self.execute_selection_set(node, fragment.selection_set)
        return result

    def execute_field(self, node: Node, field: Field) -> Any:
        if field.name not in node:
            typename = node.get("__typename", "Query or Mutation")
            raise UnsupportedError(f"{self.document.operation_name}: {field.name} of {typename}")
        value = node[field.name]
        if callable(value):
            value = value(self.substitute_variables(field.arguments))
        return self.complete_value(value, field)

    def complete_value(self, value: Any, field: Field) -> Any:
        if isinstance(value, list):
            return [self.complete_value(each, field) for each in value]
        return (
            self.execute_selection_set(value, field.selection_set)
            if value and field.selection_set
            else value
        )

    def fragment_applies(self, node: Node, spread: FragmentSpread) -> bool:
        typename = node["__typename"]
        return bool(spread.fragment_name) or spread.type_condition in (
            None,
            typename,
            INTERFACES.get(typename),
        )

    def should_include(self, selected: Field | FragmentSpread) -> bool:
        conditions = {
            name: self.substitute_variables(args)["if"]
            for name, args in selected.directives.items()
        }
        return conditions.get("include", True) and not conditions.get("skip", False)

    def substitute_variables(self, value: Any) -> Any:
        """Substitute values for variables; a variable that was not sent drops its argument."""
        if isinstance(value, Variable):
            return self.variables.get(value.name, self.document.variable_defaults.get(value.name))
        if isinstance(value, dict):
            return {key: self.substitute_variables(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.substitute_variables(each) for each in value]
        return value


def connection(
    nodes: Sequence[Any],
    to_node: Callable[[Any], Node],
    typename: str,
    edge_fields: Callable[[Any], Node] = lambda _: {},
) -> Callable[[Args], Node]:
    """Paginate a list; `edge_fields` adds fields to an edge next to its node."""

    def resolve(args: Args) -> Node:
        start = int(args.get("after") or 0)
        end = start + int(args.get("first") or 1000)
        edges = [
            {
                "__typename": f"{typename}Edge",
                "node": to_node(each),
                "cursor": str(number),
                **edge_fields(each),
            }
            for number, each in enumerate(nodes[start:end], start + 1)
        ]
        page_info = {
            "__typename": "PageInfo",
            "endCursor": str(start + len(edges)),
            "hasNextPage": end < len(nodes),
        }
        return {
            "__typename": f"{typename}Connection",
            "edges": edges,
            "pageInfo": page_info,
            "totalCount": len(nodes),
        }

    return resolve
