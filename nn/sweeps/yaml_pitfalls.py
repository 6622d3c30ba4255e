"""Where YAML reads something else than the author of a sweep file meant.

Of several equal keys the last is silently kept, and YAML 1.1 takes `off` for false, `010` for 8,
`1:30` for 90 and `2026-01-31` for a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from nn.errors import as_typed
from nn.sweeps.schema import Loader

TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Misread:
    """A scalar that is read as something else than it looks like."""

    keys: tuple[str, ...]
    """Where it is, from the top."""
    line: int
    text: str
    meaning: str
    """How YAML reads it."""
    is_bool: bool

    @property
    def sentence(self) -> str:
        """What is wrong, and what would be right."""
        where = ".".join(self.keys) or "the keys"
        return (
            f"{where}: {self.text} in line {self.line} is read as {self.meaning}; "
            f"write '{self.text}' if it is a text{self._number}."
        )

    @property
    def _number(self) -> str:
        return f", {int(self.text)} if it is a number" if re.fullmatch(r"\d+", self.text) else ""


Nodes = list[tuple[tuple[str, ...], yaml.Node | None]]
"""All nodes of a file, each with the keys that lead to it."""


def nodes(text: str) -> Nodes:
    """Go through all nodes of a valid file once, in order."""
    found: Nodes = []
    left: Nodes = [((), yaml.compose(text, Loader))]
    seen = set()
    while left:
        keys, node = left.pop()
        if id(node) in seen:  # which an alias refers to
            continue
        seen.add(id(node))
        found.append((keys, node))
        if isinstance(node, MappingNode):
            left += [((*keys, str(key.value)), value) for key, value in reversed(node.value)]
        elif isinstance(node, SequenceNode):
            left += [(keys, value) for value in reversed(node.value)]
    return found


def duplicate_keys(nodes: Nodes) -> Iterator[str]:
    """Report each key that a mapping has several times, by its lines."""
    for keys, node in nodes:
        if not isinstance(node, MappingNode):
            continue
        lines: dict[tuple[str, str], list[int]] = {}
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.tag != f"{TAG}merge":
                lines.setdefault((key.tag, key.value), []).append(key.start_mark.line + 1)
        for (_, name), where in lines.items():
            if len(where) > 1:
                *others, last = map(str, where)
                times = "twice" if len(where) == 2 else f"{len(where)} times"
                yield (
                    f"{'.'.join((*keys, name))}: this key is given {times}, in lines "
                    f"{', '.join(others)} and {last}; keep one."
                )


def misread_scalars(nodes: Nodes) -> Iterator[Misread]:
    """Find the scalars, keys included, that YAML takes for something else."""
    for keys, node in nodes:
        if isinstance(node, MappingNode):
            for key, _ in node.value:
                if isinstance(key, ScalarNode):
                    yield from _misread(keys, key)
        elif isinstance(node, ScalarNode):
            yield from _misread(keys, node)


def _misread(keys: tuple[str, ...], node: ScalarNode) -> Iterator[Misread]:
    kind, text = node.tag.removeprefix(TAG), node.value
    meaning = None
    if kind == "bool" and text.lower() not in ("true", "false"):
        meaning = as_typed(text.lower() in ("yes", "on"))
    elif kind in ("int", "float") and ":" in text:
        meaning = f"{as_typed(yaml.load(text, Loader))}, a number in base 60"
    elif kind == "int" and re.fullmatch(r"[-+]?0[0-7_]+", text):
        octal, decimal = int(text.replace("_", ""), 8), int(text.replace("_", ""))
        meaning = f"{octal}, an octal number" if octal != decimal else None
    elif kind == "timestamp":
        meaning = "a date"
    if meaning:
        yield Misread(keys, node.start_mark.line + 1, text, meaning, kind == "bool")
