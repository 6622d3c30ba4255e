"""The README files and their code blocks."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.conftest import ROOT

READMES = (
    "README.md",
    "conf/README.md",
    "scripts/README.md",
    "sweeps/README.md",
    "nn/README.md",
    "nn/report/README.md",
)


class Block(NamedTuple):
    """A fenced code block; `file` is the path in its first line if it is the content of a file."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        match = re.match(r"# (\S+\.\w+)\n", self.text)
        return match[1] if match and self.language in ("python", "yaml") else None


def read_readme(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def read_blocks(path: str) -> list[Block]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", read_readme(path), re.DOTALL | re.MULTILINE)
    return [Block(*block) for block in blocks]
