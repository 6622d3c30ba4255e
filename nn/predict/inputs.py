"""What a network is asked about, in the form that it takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nn.data.input_spec import Inputs
from nn.errors import Mistake
from nn.io.paths import short
from nn.predict import array_files, image_files
from nn.types import Array, Labels


@dataclass(frozen=True)
class Given:
    """Samples, what they are called, their true classes as far as known, and what was done.

    The names are those of files, or numbers from 1.
    """

    images: Array
    names: Sequence[str]
    labels: Labels | None
    notes: Sequence[str]
    are_files: bool

    def __len__(self) -> int:
        return len(self.images)


def read(
    paths: Sequence[Path],
    inputs: Inputs,
    labels: Path | None,
    invert: str,
    columns: array_files.Columns,
) -> Given:
    """Read one file of many samples, or any number of images, or a folder of images."""
    first = paths[0]
    are_files = first.is_dir() or image_files.is_picture(first)
    if are_files:
        read = image_files.read(_listed(paths), inputs, invert)
        images, names, notes, truth = read.images, read.names, read.notes, None
    else:
        if invert != "auto":
            raise Mistake(f"--invert {invert}: only images are inverted.")
        if len(paths) > 1:
            raise Mistake(f"{short(paths[1])}: beside a file of samples there can be no other.")
        content = array_files.read(first, inputs, columns)
        images, notes, truth = content.images, content.notes, content.labels
        names = [str(number) for number in range(1, len(images) + 1)]
    if labels is not None:
        if truth is not None:
            raise Mistake(f"--labels {labels}: {short(first)} has a column of labels already.")
        truth = array_files.read_labels(labels, inputs, len(images))
    return Given(images, names, truth, notes, are_files)


def _listed(paths: Sequence[Path]) -> list[Path]:
    """Replace folders by the images in them, in the order of a person's counting."""
    listed: list[Path] = []
    for path in paths:
        if not path.is_dir():
            listed.append(path)
            continue
        try:
            found = [each for each in path.iterdir() if _is_shown_picture(each)]
        except OSError as error:
            raise Mistake(f"{short(path)} cannot be read: {error.strerror}.") from None
        if not found:
            raise Mistake(f"{short(path)}: this folder has no images ({image_files.LISTED}).")
        listed += sorted(found, key=_counted)
    return listed


def _is_shown_picture(path: Path) -> bool:
    """Whether a file of a folder is an image that the folder shows."""
    return (
        path.suffix.lower() in image_files.SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
    )


def _counted(path: Path) -> list[tuple[int, str]]:
    """Sort 2.png before 10.png."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
