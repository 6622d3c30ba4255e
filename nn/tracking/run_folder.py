"""The folder of a run: what was asked for, what happened, and what came of it.

config.yaml        the resolved configuration, written first
environment.json   the machine, the versions and the code
history.jsonl      a line for each epoch, written as it happens
summary.json       the result, written last
"""

from __future__ import annotations

import json
import math
import os
import secrets
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import yaml

from nn.errors import Mistake


def new_folder() -> str:
    """Choose where a run is written; that of a sweep agent finds its folder again."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    if sweep and run:
        return f"runs/{sweep}/{run}"
    return datetime.now().strftime(f"runs/%Y-%m-%d/%H-%M-%S-{secrets.token_hex(4)}")


FILES = ("config.yaml", "environment.json", "history.jsonl", "summary.json")


def refuse_unusable(path: str, setting: str) -> None:
    """Refuse a folder in which a run, or several, cannot be written, before anything is."""
    if not path:
        raise Mistake(f"{setting}='': name a folder.")
    try:
        folder = Path(path)
        used = [*(folder / name for name in FILES), *folder.glob("*/config.yaml")]
        if any(file.exists() for file in used):
            raise Mistake(f"{setting}={path}: the folder already holds a run; name another one.")
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        Path(tempfile.mkdtemp(dir=existing)).rmdir()
        if folder.is_symlink() and not folder.exists():
            raise Mistake(f"{setting}={path}: this is a link to nowhere; name a folder.")
    except OSError as error:
        reason = f"nothing can be written there: {error.strerror}"
        raise Mistake(f"{setting}={path}: {reason}.") from None


def short(path: str | Path) -> str:
    """Name a path from the current folder, if it lies below."""
    place = Path(path).absolute()
    here = Path.cwd()
    return str(place.relative_to(here) if place.is_relative_to(here) else place)


class RunFolder:
    """A run's folder, open for writing."""

    def __init__(self, path: Path, config: Mapping[str, Any], environment: Mapping[str, Any]):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        try:
            file = (path / "config.yaml").open("x", encoding="utf-8")
        except FileExistsError:
            raise Mistake(f"{path} already holds a run; name another folder.") from None
        with file:
            yaml.safe_dump(dict(config), file, sort_keys=False, allow_unicode=True)
        self._write_json("environment.json", environment)
        self._history = (path / "history.jsonl").open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._history.close()

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line to the history, at once."""
        self._history.write(_json(record) + "\n")
        self._history.flush()

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write what came of the run."""
        self._write_json("summary.json", summary)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        lines = (f"  {_json(key)}: {_json(value)}" for key, value in content.items())
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        (self.path / name).write_text(text, encoding="utf-8")


def _json(content: Any) -> str:
    return json.dumps(_finite(content), allow_nan=False)


def _finite(content: Any) -> Any:
    """Put null in the place of what is not a finite number, for which JSON has no word."""
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
