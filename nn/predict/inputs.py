"""Inputs of a prediction, read from files and converted to what the network takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nn.data.input_spec import InputSpec
from nn.errors import UserError
from nn.io.paths import relpath
from nn.predict import array_files, image_files
from nn.types import Array, Labels


@dataclass(frozen=True)
class InputBatch:
    """Samples with their names, their true classes if known, and notes on conversions.

    The names are file names or numbers from 1.
    """

    samples: Array
    names: Sequence[str]
    labels: Labels | None
    notes: Sequence[str]
    has_file_names: bool

    def __len__(self) -> int:
        return len(self.samples)


def read_inputs(
    paths: Sequence[Path],
    input_spec: InputSpec,
    labels_path: Path | None,
    invert: str,
    csv_options: array_files.CsvOptions,
) -> InputBatch:
    """Read either one file of samples or any number of images and directories of images."""
    first = paths[0]
    are_images = first.is_dir() or image_files.is_image_file(first)
    if are_images:
        loaded_images = image_files.read_images(_expand_directories(paths), input_spec, invert)
        samples, labels, notes = loaded_images.images, None, loaded_images.notes
        names = loaded_images.names
    else:
        if invert != "auto":
            raise UserError(f"--invert {invert}: only images can be inverted.")
        if len(paths) > 1:
            raise UserError(
                f"{relpath(paths[1])}: a file of samples cannot be combined with other inputs."
            )
        loaded_samples = array_files.read_samples(first, input_spec, csv_options)
        samples, labels, notes = loaded_samples.samples, loaded_samples.labels, loaded_samples.notes
        names = [str(number) for number in range(1, len(samples) + 1)]
    if labels_path is not None:
        if labels is not None:
            raise UserError(f"--labels {labels_path}: {relpath(first)} already contains labels.")
        labels = array_files.read_labels(labels_path, input_spec, len(samples))
    return InputBatch(samples, names, labels, notes, are_images)


def _expand_directories(paths: Sequence[Path]) -> list[Path]:
    """Replace directories by the images in them, in natural sort order."""
    image_paths: list[Path] = []
    for path in paths:
        if not path.is_dir():
            image_paths.append(path)
            continue
        try:
            found = [child for child in path.iterdir() if _is_visible_image(child)]
        except OSError as error:
            raise UserError(f"{relpath(path)} cannot be read: {error.strerror}.") from None
        if not found:
            raise UserError(
                f"{relpath(path)}: this directory has no images ({image_files.FORMAT_NAMES})."
            )
        image_paths += sorted(found, key=_natural_sort_key)
    return image_paths


def _is_visible_image(path: Path) -> bool:
    """Whether a path is an image file that is not hidden."""
    return (
        path.suffix.lower() in image_files.IMAGE_SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
    )


def _natural_sort_key(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts 2.png before 10.png."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
