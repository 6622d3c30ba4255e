"""Paths and links on pages: a page can be shared, so it must not reveal a home directory."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from nn.io.paths import relpath

HOME_PATTERN = r"/(?:home|Users)/[^/\s'\"<>,;:]+"
"""Any home directory on Linux or macOS: a run may come from another machine."""
PROGRAM_PATTERN = re.compile(r"(?:.*/)?(scripts/\w+\.py|nn-\w+)")
REPORT_FILE = "report.html"
PageUrl: TypeAlias = Callable[[Path], str | None]
"""Returns the URL of the page of a run or sweep directory, or None if it has no page."""


def relative_url(target: Path, page: Path) -> str:
    """Return the URL of a file relative to a page, which stays valid when both are moved."""
    return quote(os.fsencode(os.path.relpath(target.absolute(), page.absolute().parent)))


def shorten_paths(text: str, home: str = "~") -> str:
    """Make the paths in a text relative to the current directory, or else to the home directory."""
    replacements = {"home": home, "below": "", "here": "."}
    pattern = _prefix_pattern(str(Path.cwd()), str(Path("~").expanduser()))
    return pattern.sub(lambda match: replacements[str(match.lastgroup)], text)


def display_path(folder: Path) -> str:
    """Return a directory relative to the current or home directory, or else its last part."""
    name = shorten_paths(str(folder.absolute()))
    return folder.absolute().name if name.startswith("/") else name


def strip_folder(text: str, folder: Path) -> str:
    """Make the paths in a text that lie below a directory relative to it."""
    for prefix in (str(folder.absolute()), relpath(folder), str(folder)):
        text = text.replace(f"{prefix}/", "")
    return text


def normalize_command(line: str) -> str:
    """Rewrite a command as it would be typed in the project directory, with $HOME in its paths."""
    try:
        args = shlex.split(line)
    except ValueError:  # unbalanced quotes in a damaged file
        return line
    for index, arg in enumerate(args[:2]):
        if program := PROGRAM_PATTERN.fullmatch(arg):
            is_console_command = program[1].startswith("nn-")
            args[0 if is_console_command else index : index + 1] = [program[1]]
    return " ".join(map(_quote, args))


def _quote(arg: str) -> str:
    escaped = re.sub(r'(["$`\\])', r"\\\1", arg)
    shortened = shorten_paths(escaped, "$HOME")
    if "$HOME" in shortened and shortened != escaped:
        return f'"{shortened}"'
    return shlex.quote(shorten_paths(arg))


@lru_cache
def _prefix_pattern(here: str, home: str) -> re.Pattern[str]:
    """Compile a pattern of the path prefixes that `shorten_paths` replaces, as named groups."""
    known = [re.escape(home)] if home.count("/") and home != "/" else []
    kinds = [rf"(?P<home>{'|'.join([*known, HOME_PATTERN])})(?![\w.-])"]
    if here.count("/") > 1:  # not / or /home
        below = rf"(?P<below>{re.escape(here)}/)|(?P<here>{re.escape(here)})(?![\w./-])"
        kinds.insert(0 if len(here) > len(home) else 1, below)
    return re.compile(rf"(?<![\w.~/+-])(?:{'|'.join(kinds)})")
