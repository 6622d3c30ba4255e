"""The predict command: check the options, predict, write and print the results."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nn.errors import UserError
from nn.io.files import staged_files
from nn.io.paths import MODEL_FILE, PREDICTIONS_FILE, RUN_FILES, relpath
from nn.predict.inputs import read_inputs
from nn.predict.predictor import Predictor
from nn.predict.results import PredictionResults


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Parsed command line of predict."""

    run: Path
    inputs: Sequence[Path]
    labels: Path | None
    output: Path | None
    figure: Path | None
    probabilities: bool
    first: int
    invert: str
    overwrite: bool
    trust: str


def run_prediction(options: PredictOptions) -> None:
    """Predict the classes of the inputs, write the requested files and print a summary."""
    if options.probabilities and not options.output:
        raise UserError("--probabilities has no effect without --output FILE.")
    if options.figure and options.figure.suffix.lower() != ".png":
        raise UserError(
            f"--figure {options.figure}: the image is a PNG; use a file name like grid.png."
        )
    if options.first != 1 and not options.figure:
        raise UserError("--first has no effect without --figure FILE.")
    output_paths = [path for path in (options.output, options.figure) if path]
    input_paths = [*options.inputs, *([options.labels] if options.labels else [])]
    _check_output_paths(output_paths, input_paths, options.run, options.overwrite)
    predictor = Predictor.from_run(options.run, options.trust)
    batch = read_inputs(
        options.inputs, predictor.input_spec, options.labels, options.invert, predictor.csv_options
    )
    if options.figure and predictor.input_spec.image_stats is None:
        raise UserError("--figure: the inputs of this model are not images.")
    if options.first > len(batch):
        raise UserError(f"--first {options.first}: there are {len(batch):,} samples.")
    results = PredictionResults(batch, predictor.input_spec, predictor.predict_proba(batch.samples))
    contents = {}
    if options.output:
        contents[options.output] = results.to_csv(options.probabilities)
    if options.figure:
        contents[options.figure] = results.to_png(options.first - 1)
    # all files are written or none, each to the target of its path if that is a symbolic link
    with staged_files((path.resolve(), content) for path, content in contents.items()) as commit:
        commit()
    notices = [predictor.unfinished_notice] if predictor.unfinished_notice else []
    print(*notices, *results.summary_lines(), *map(relpath, contents), sep="\n")


def _check_output_paths(
    output_paths: Sequence[Path], input_paths: Sequence[Path], run_dir: Path, overwrite: bool
) -> None:
    """Raise a UserError for paths that must not or cannot be written, before any work is done."""
    for index, path in enumerate(output_paths):
        try:
            resolved = path.resolve()
            if resolved in [other.resolve() for other in output_paths[:index]]:
                raise UserError(f"{relpath(path)}: two outputs cannot be the same file.")
            is_input = resolved in [other.resolve() for other in input_paths]
            if is_input or _is_run_file(resolved, run_dir.resolve()):
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
            with tempfile.TemporaryFile(dir=resolved.parent):
                pass
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{relpath(path)}: nothing can be written there: {reason}.") from None


def _is_run_file(path: Path, run_dir: Path) -> bool:
    """Whether a path is one that a run uses, even if the file does not exist."""
    run_files = [run_dir / name for name in (*RUN_FILES, MODEL_FILE, PREDICTIONS_FILE, ".lock")]
    return path in run_files or not {run_dir / "checkpoints", run_dir / "wandb"}.isdisjoint(
        path.parents
    )
