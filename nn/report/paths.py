"""Paths as a page shows them: a page may be shared, and does not name its maker's home folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from nn.io.paths import relpath

HOME_PATTERN = r"/(?:home|Users)/[^/\s'\"<>,;:]+"
"""The home folder of anyone, on Linux and macOS; a run may come from another machine."""
SCRIPT_PATTERN = re.compile(r"(?:.*/)?(scripts/\w+\.py)")


def shorten_paths(text: str, home: str = "~") -> str:
    """Write paths in a text from the current folder, or else from the home folder."""
    written = {"home": home, "below": "", "here": "."}
    pattern = _prefix_pattern(str(Path.cwd()), str(Path("~").expanduser()))
    return pattern.sub(lambda found: written[str(found.lastgroup)], text)


def display_path(folder: Path) -> str:
    """Name a folder from the current folder or the home folder, or else by its last part."""
    name = shorten_paths(str(folder.absolute()))
    return folder.absolute().name if name.startswith("/") else name


def strip_folder(text: str, folder: Path) -> str:
    """Write paths in a text from a folder, if they lie below it."""
    for prefix in (str(folder.absolute()), relpath(folder), str(folder)):
        text = text.replace(f"{prefix}/", "")
    return text


def join_command(args: Iterable[str]) -> str:
    """Join words to a command that a shell understands, with $HOME for the home folder."""
    return " ".join(map(_quote, args))


def normalize_command(line: str) -> str:
    """Write a recorded command as it would be typed in the folder of this project."""
    try:
        words = shlex.split(line)
    except ValueError:  # damaged
        return line
    for place, word in enumerate(words[:2]):
        if script := SCRIPT_PATTERN.fullmatch(word):
            words[place] = script[1]
    return join_command(words)


def _quote(arg: str) -> str:
    escaped = re.sub(r'(["$`\\])', r"\\\1", arg)
    found = shorten_paths(escaped, "$HOME")
    return (
        f'"{found}"' if "$HOME" in found and found != escaped else shlex.quote(shorten_paths(arg))
    )


@lru_cache
def _prefix_pattern(here: str, home: str) -> re.Pattern[str]:
    """Find how a path begins that can be written shorter."""
    known = [re.escape(home)] if home.count("/") and home != "/" else []
    kinds = [rf"(?P<home>{'|'.join([*known, HOME_PATTERN])})(?![\w.-])"]
    if here.count("/") > 1:  # not / or /home
        below = rf"(?P<below>{re.escape(here)}/)|(?P<here>{re.escape(here)})(?![\w./-])"
        kinds.insert(0 if len(here) > len(home) else 1, below)
    return re.compile(rf"(?<![\w.~/+-])(?:{'|'.join(kinds)})")
