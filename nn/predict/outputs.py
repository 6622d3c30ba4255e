"""Files that a command writes for its user: all of them or none, and over no other unasked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nn.errors import Mistake
from nn.io.files import written_together
from nn.io.paths import FILES, MODEL, PREDICTIONS, short


def check(outputs: Sequence[Path], inputs: Sequence[Path], run: Path, force: bool) -> None:
    """Refuse places at which nothing should or can be written, before there is anything."""
    for number, path in enumerate(outputs):
        try:
            place = path.resolve()
            if place in [other.resolve() for other in outputs[:number]]:
                raise Mistake(f"{short(path)}: two files cannot be written to one place.")
            if place in [given.resolve() for given in inputs] or _belongs(place, run.resolve()):
                raise Mistake(f"{short(path)} is what is read; name another file.")
            if path.is_dir():
                raise Mistake(f"{short(path)} is a folder; name a file.")
            if path.is_symlink() and not path.exists():
                raise Mistake(f"{short(path)} is a link to nowhere; name another file.")
            if path.exists() and not path.is_file():
                raise Mistake(f"{short(path)} is no plain file; name another.")
            if path.exists() and not force:
                raise Mistake(f"{short(path)} exists already; --force writes over it.")
            with tempfile.TemporaryFile(dir=place.parent):
                pass
        except (OSError, RuntimeError) as error:
            raise _unwritable(path, error) from None


def write(contents: Mapping[Path, bytes]) -> None:
    """Write all of them or none, each into what a link points to."""
    with written_together((path.resolve(), each) for path, each in contents.items()) as move:
        move()


def _belongs(place: Path, run: Path) -> bool:
    """Whether a place is that of a file of a run."""
    kept = [run / name for name in (*FILES, MODEL, PREDICTIONS, ".lock")]
    return place in kept or not {run / "checkpoints", run / "wandb"}.isdisjoint(place.parents)


def _unwritable(path: Path, error: Exception) -> Mistake:
    reason = getattr(error, "strerror", None) or error
    return Mistake(f"{short(path)}: nothing can be written there: {reason}.")
