"""From what the command line asks for to predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nn.errors import Mistake
from nn.io.paths import short
from nn.predict import inputs, outputs
from nn.predict.predictor import Trained
from nn.predict.results import Predicted


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    run: Path
    inputs: Sequence[Path]
    labels: Path | None
    output: Path | None
    images: Path | None
    probabilities: bool
    start: int
    invert: str
    force: bool
    trust: str


def run(wanted: Wanted) -> None:
    """Let a trained network say what it sees; tell, write and draw it."""
    if wanted.probabilities and not wanted.output:
        raise Mistake("--probabilities adds columns to a file; name it with --output FILE.")
    if wanted.images and wanted.images.suffix.lower() != ".png":
        raise Mistake(f"--images {wanted.images}: the picture is a PNG; name a file like seen.png.")
    if wanted.start != 1 and not wanted.images:
        raise Mistake("--start says where a picture begins; name it with --images FILE.")
    places = [place for place in (wanted.output, wanted.images) if place]
    read = [*wanted.inputs, *([wanted.labels] if wanted.labels else [])]
    outputs.check(places, read, wanted.run, wanted.force)
    trained = Trained.read(wanted.run, wanted.trust)
    samples = inputs.read(
        wanted.inputs, trained.inputs, wanted.labels, wanted.invert, trained.columns
    )
    if wanted.images and trained.inputs.look is None:
        raise Mistake("--images: what this model takes are no images.")
    if wanted.start > len(samples):
        raise Mistake(f"--start {wanted.start}: there are {len(samples):,} samples.")
    predicted = Predicted(samples, trained.inputs, trained.probabilities(samples.images))
    contents = {}
    if wanted.output:
        contents[wanted.output] = predicted.table(wanted.probabilities)
    if wanted.images:
        contents[wanted.images] = predicted.picture(wanted.start - 1)
    outputs.write(contents)
    for line in (*filter(None, [trained.note]), *predicted.told(), *map(short, contents)):
        print(line)
