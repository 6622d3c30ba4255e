"""The predict command: check the options, predict, write and print the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nn.errors import UserError
from nn.io.paths import relpath
from nn.predict import inputs, outputs
from nn.predict.predictor import Predictor
from nn.predict.results import PredictionResults


@dataclass(frozen=True)
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
    outputs.check_output_paths(output_paths, input_paths, options.run, options.overwrite)
    predictor = Predictor.from_run(options.run, options.trust)
    batch = inputs.read_inputs(
        options.inputs, predictor.input_spec, options.labels, options.invert, predictor.csv_options
    )
    if options.figure and predictor.input_spec.look is None:
        raise UserError("--figure: the inputs of this model are not images.")
    if options.first > len(batch):
        raise UserError(f"--first {options.first}: there are {len(batch):,} samples.")
    results = PredictionResults(batch, predictor.input_spec, predictor.predict_proba(batch.samples))
    contents = {}
    if options.output:
        contents[options.output] = results.to_csv(options.probabilities)
    if options.figure:
        contents[options.figure] = results.to_png(options.first - 1)
    outputs.write_files(contents)
    for line in (
        *filter(None, [predictor.unfinished_notice]),
        *results.summary_lines(),
        *map(relpath, contents),
    ):
        print(line)
