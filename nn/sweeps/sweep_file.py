"""Load sweep files, and find text in them that YAML reads differently from what was meant.

Of duplicate keys the last silently wins, and YAML 1.1 reads `off` as false, `010` as 8, `1:30` as
90 and `2026-01-31` as a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import JsonValue
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from nn.errors import UserError, format_value

MAX_FILE_BYTES = 2**20
"""Maximum size of a sweep file."""
MAX_NODES = 10**5
"""Maximum number of values in a sweep file, with YAML aliases expanded."""
TAG_PREFIX = "tag:yaml.org,2002:"


FASTEST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader, which is optional in PyYAML, or PyYAML's own."""


class SweepFileLoader(FASTEST_LOADER):  # type: ignore[misc, valid-type]  # known at run time
    """YAML loader as in W&B, except that dates stay strings, as on a command line and in JSON."""


SweepFileLoader.add_constructor(f"{TAG_PREFIX}timestamp", yaml.SafeLoader.construct_yaml_str)


def load_yaml(path: Path) -> dict[str, JsonValue]:
    """Load a sweep file without validating its keys."""
    return parse_yaml(read_sweep_text(path), path)


def parse_yaml(text: str, path: Path) -> dict[str, JsonValue]:
    """Parse the text of a sweep file without validating its keys."""
    try:
        content = _parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        # libyaml reports the end of a file as the line after the last one
        line = f", line {min(mark.line, text.count(chr(10))) + 1}" if mark else ""
        raise UserError(f"{path}{line}: this is not valid YAML.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a sweep file must be a mapping with method and parameters.")
    if _count_nodes(content) > MAX_NODES:
        raise UserError(
            f"{path}: the file has more than {MAX_NODES:,} values, or an alias refers to itself."
        )
    return content


@lru_cache(maxsize=2)
def _parse_yaml(text: str) -> JsonValue:
    """Parse YAML once for all callers, none of which modifies the result."""
    content: JsonValue = yaml.load(text, SweepFileLoader)
    return content


def read_sweep_text(path: Path) -> str:
    """Read the text of a sweep file, and raise `UserError` if it is too large or unreadable."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES or not path.is_file():
            raise UserError(f"{path} is not a sweep file.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: this is not valid YAML.") from None


def _count_nodes(content: JsonValue) -> int:
    """Count the values with aliases expanded, up to `MAX_NODES` + 1.

    A few lines of YAML can expand to billions of values, or refer to themselves.
    """
    count, stack = 0, [content]
    while stack and count <= MAX_NODES:
        count, node = count + 1, stack.pop()
        stack += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return count


@dataclass(frozen=True)
class MisreadScalar:
    """A scalar that YAML reads as a value of another type than it seems to have."""

    key_path: tuple[str, ...]
    """The keys that lead to it, outermost first."""
    line: int
    text: str
    interpretation: str
    """Description of the value that YAML reads."""
    is_bool: bool

    @property
    def message(self) -> str:
        """Error message: how the scalar is read, and how to write it instead."""
        location = ".".join(self.key_path) or "the keys"
        return (
            f"{location}: {self.text} in line {self.line} is read as {self.interpretation}; "
            f"write '{self.text}' if it is a string{self._integer_hint}."
        )

    @property
    def _integer_hint(self) -> str:
        return f", {int(self.text)} if it is a number" if re.fullmatch(r"\d+", self.text) else ""


YamlNodes = list[tuple[tuple[str, ...], yaml.Node | None]]
"""YAML nodes, each with the keys that lead to it."""


def collect_nodes(text: str) -> YamlNodes:
    """Return all nodes of a valid file in order, each of them once."""
    collected: YamlNodes = []
    stack: YamlNodes = [((), yaml.compose(text, SweepFileLoader))]
    seen = set()
    while stack:
        key_path, node = stack.pop()
        if id(node) in seen:  # an alias refers to it
            continue
        seen.add(id(node))
        collected.append((key_path, node))
        if isinstance(node, MappingNode):
            stack += [((*key_path, str(key.value)), value) for key, value in reversed(node.value)]
        elif isinstance(node, SequenceNode):
            stack += [(key_path, value) for value in reversed(node.value)]
    return collected


def find_duplicate_keys(nodes: YamlNodes) -> Iterator[str]:
    """Yield an error with the line numbers for each duplicate key of a mapping."""
    for key_path, node in nodes:
        if not isinstance(node, MappingNode):
            continue
        lines: dict[tuple[str, str], list[int]] = {}
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.tag != f"{TAG_PREFIX}merge":
                lines.setdefault((key.tag, key.value), []).append(key.start_mark.line + 1)
        for (_, name), line_numbers in lines.items():
            if len(line_numbers) > 1:
                *others, last = map(str, line_numbers)
                how_often = "twice" if len(line_numbers) == 2 else f"{len(line_numbers)} times"
                yield (
                    f"{'.'.join((*key_path, name))}: this key is given {how_often}, in lines "
                    f"{', '.join(others)} and {last}; keep one."
                )


def find_misread_scalars(nodes: YamlNodes) -> Iterator[MisreadScalar]:
    """Yield the scalars, keys included, that YAML reads as another type than intended."""
    for key_path, node in nodes:
        if isinstance(node, MappingNode):
            for key, _ in node.value:
                if isinstance(key, ScalarNode):
                    yield from _check_scalar(key_path, key)
        elif isinstance(node, ScalarNode):
            yield from _check_scalar(key_path, node)


def _check_scalar(key_path: tuple[str, ...], node: ScalarNode) -> Iterator[MisreadScalar]:
    yaml_type, text = node.tag.removeprefix(TAG_PREFIX), node.value
    interpretation = None
    if yaml_type == "bool" and text.lower() not in ("true", "false"):
        interpretation = format_value(text.lower() in ("yes", "on"))
    elif yaml_type in ("int", "float") and ":" in text:
        interpretation = f"{format_value(yaml.load(text, SweepFileLoader))}, a number in base 60"
    elif yaml_type == "int" and re.fullmatch(r"[-+]?0[0-7_]+", text):
        octal, decimal = int(text.replace("_", ""), 8), int(text.replace("_", ""))
        interpretation = f"{octal}, an octal number" if octal != decimal else None
    elif yaml_type == "timestamp":
        interpretation = "a date"
    if interpretation:
        yield MisreadScalar(
            key_path, node.start_mark.line + 1, text, interpretation, yaml_type == "bool"
        )
