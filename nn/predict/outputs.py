"""Files that a command writes for its user: all of them or none, and over no other unasked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nn.errors import UserError
from nn.io.files import staged_files
from nn.io.paths import MODEL_FILE, PREDICTIONS_FILE, RUN_FILES, relpath


def check_output_paths(
    output_paths: Sequence[Path], input_paths: Sequence[Path], run_dir: Path, force: bool
) -> None:
    """Refuse places at which nothing should or can be written, before there is anything."""
    for index, path in enumerate(output_paths):
        try:
            resolved_path = path.resolve()
            if resolved_path in [other.resolve() for other in output_paths[:index]]:
                raise UserError(f"{relpath(path)}: two files cannot be written to one place.")
            if resolved_path in [given.resolve() for given in input_paths] or _is_run_file(
                resolved_path, run_dir.resolve()
            ):
                raise UserError(f"{relpath(path)} is what is read; name another file.")
            if path.is_dir():
                raise UserError(f"{relpath(path)} is a folder; name a file.")
            if path.is_symlink() and not path.exists():
                raise UserError(f"{relpath(path)} is a link to nowhere; name another file.")
            if path.exists() and not path.is_file():
                raise UserError(f"{relpath(path)} is no plain file; name another.")
            if path.exists() and not force:
                raise UserError(f"{relpath(path)} exists already; --force writes over it.")
            with tempfile.TemporaryFile(dir=resolved_path.parent):
                pass
        except (OSError, RuntimeError) as error:
            raise _unwritable_error(path, error) from None


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write all of them or none, each into what a link points to."""
    with staged_files((path.resolve(), each) for path, each in contents.items()) as move:
        move()


def _is_run_file(path: Path, run_dir: Path) -> bool:
    """Whether a place is that of a file of a run."""
    run_files = [run_dir / name for name in (*RUN_FILES, MODEL_FILE, PREDICTIONS_FILE, ".lock")]
    return path in run_files or not {run_dir / "checkpoints", run_dir / "wandb"}.isdisjoint(
        path.parents
    )


def _unwritable_error(path: Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or error
    return UserError(f"{relpath(path)}: nothing can be written there: {reason}.")
