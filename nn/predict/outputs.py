"""Output files: all are written or none, and existing ones are overwritten only on request."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nn.errors import UserError
from nn.io.files import staged_files
from nn.io.paths import MODEL_FILE, PREDICTIONS_FILE, RUN_FILES, relpath


def check_output_paths(
    output_paths: Sequence[Path], input_paths: Sequence[Path], run_dir: Path, overwrite: bool
) -> None:
    """Raise a UserError for paths that must not or cannot be written, before any work is done."""
    for index, path in enumerate(output_paths):
        try:
            resolved_path = path.resolve()
            if resolved_path in [other.resolve() for other in output_paths[:index]]:
                raise UserError(f"{relpath(path)}: two outputs cannot be the same file.")
            if resolved_path in [other.resolve() for other in input_paths] or _is_run_file(
                resolved_path, run_dir.resolve()
            ):
                raise UserError(
                    f"{relpath(path)} is an input or part of the run; name another file."
                )
            if path.is_dir():
                raise UserError(f"{relpath(path)} is a directory; name a file.")
            if path.is_symlink() and not path.exists():
                raise UserError(f"{relpath(path)} is a broken symbolic link; name another file.")
            if path.exists() and not path.is_file():
                raise UserError(f"{relpath(path)} is not a regular file; name another one.")
            if path.exists() and not overwrite:
                raise UserError(f"{relpath(path)} already exists; --overwrite replaces it.")
            with tempfile.TemporaryFile(dir=resolved_path.parent):
                pass
        except (OSError, RuntimeError) as error:
            raise _unwritable_error(path, error) from None


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write all files or none, each to the target of its path if that is a symbolic link."""
    with staged_files((path.resolve(), content) for path, content in contents.items()) as commit:
        commit()


def _is_run_file(path: Path, run_dir: Path) -> bool:
    """Whether a path is one that a run uses, even if the file does not exist."""
    run_files = [run_dir / name for name in (*RUN_FILES, MODEL_FILE, PREDICTIONS_FILE, ".lock")]
    return path in run_files or not {run_dir / "checkpoints", run_dir / "wandb"}.isdisjoint(
        path.parents
    )


def _unwritable_error(path: Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or error
    return UserError(f"{relpath(path)}: nothing can be written there: {reason}.")
