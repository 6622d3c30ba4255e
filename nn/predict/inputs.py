"""Inputs of a prediction: images, or an array file, converted to what the network takes."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nn.data import files
from nn.data.input_spec import ImageStats, InputSpec
from nn.errors import UserError, format_shape
from nn.io.paths import relpath
from nn.predict import array_files
from nn.predict.preprocessing import FloatPixels, preprocess_image
from nn.types import Array, Labels

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp")
PIL_FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
FORMAT_NAMES = "PNG, JPEG, GIF, TIFF, WebP or BMP"
MAX_FILE_BYTES = 1 << 29
"""Size limit of an image file after decompression."""


@dataclass(frozen=True)
class InputBatch:
    """Samples with their names, their true classes if known, and notes on conversions.

    The names are file names or numbers from 1.
    """

    samples: NDArray[np.number]
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
    if first.is_dir() or _is_image_file(first):
        batch = read_images(_expand_directories(paths), input_spec, invert)
    else:
        if invert != "auto":
            raise UserError(f"--invert {invert}: only images can be inverted.")
        if len(paths) > 1:
            raise UserError(
                f"{relpath(paths[1])}: a file of samples cannot be combined with other inputs."
            )
        loaded = array_files.read_samples(first, input_spec, csv_options)
        names = [str(number) for number in range(1, len(loaded.samples) + 1)]
        batch = InputBatch(loaded.samples, names, loaded.labels, loaded.notes, False)
    if labels_path is None:
        return batch
    if batch.labels is not None:
        raise UserError(f"--labels {labels_path}: {relpath(first)} already contains labels.")
    return replace(batch, labels=array_files.read_labels(labels_path, input_spec, len(batch)))


def read_images(paths: Sequence[Path], input_spec: InputSpec, invert: str) -> InputBatch:
    """Read image files and preprocess them; `invert` is auto, yes or no."""
    if input_spec.image_stats is None:
        raise UserError(
            f"{relpath(paths[0])}: the model takes samples of {format_shape(input_spec.shape)}, "
            "which are not images."
        )
    images, notes = [], []
    for path in paths:
        decoded, has_more_frames = _open_image(path)
        image, changes = _to_sample(decoded, input_spec, input_spec.image_stats, invert)
        images.append(image)
        changes = [*(["only the first frame is read"] if has_more_frames else []), *changes]
        if changes:
            notes.append(f"{relpath(path)}: {', '.join(changes)}")
    # file names can be arbitrary bytes, but the outputs must be valid UTF-8
    names = [os.fsencode(relpath(path)).decode(errors="backslashreplace") for path in paths]
    return InputBatch(np.stack(images), names, None, notes, True)


def _is_image_file(path: Path) -> bool:
    """Whether a file is an image, by its suffix or its first bytes."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    file_format = files.identify(files.read_head(path))
    return file_format is not None and file_format.kind == "image"


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
            raise UserError(f"{relpath(path)}: this directory has no images ({FORMAT_NAMES}).")
        image_paths += sorted(found, key=_natural_sort_key)
    return image_paths


def _is_visible_image(path: Path) -> bool:
    """Whether a path is an image file that is not hidden."""
    return (
        path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _natural_sort_key(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts 2.png before 10.png."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _open_image(path: Path) -> tuple[Image.Image, bool]:
    """Decode the first frame of a file, and return whether there are more.

    Raises:
        UserError: If the file is not an image, is damaged or is too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with files.open_maybe_gzip(path) as file:
        data = files.read_up_to(file, MAX_FILE_BYTES + 1)
    if not data:
        raise UserError(f"{relpath(path)} is empty.")
    if len(data) > MAX_FILE_BYTES:
        raise UserError(f"{relpath(path)} has more than {MAX_FILE_BYTES:,} bytes.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=PIL_FORMATS)
            has_more_frames = bool(getattr(image, "is_animated", False))
            image.seek(0)
            image.load()
            if image.mode == "LAB":
                return image.convert("RGB"), has_more_frames
            return ImageOps.exif_transpose(image), has_more_frames
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise UserError(f"{relpath(path)} has too many pixels to be decoded safely.") from None
        except UnidentifiedImageError:
            file_format = files.identify(bytes(data[: files.HEAD_BYTES]))
            if file_format is not None and file_format.kind != "image":
                raise files.wrong_format_error(
                    relpath(path), file_format, f"an image ({FORMAT_NAMES})"
                ) from None
            raise UserError(
                f"{relpath(path)} is not an image of a supported format ({FORMAT_NAMES})."
            ) from None
        except Exception as error:  # a damaged image can raise anything in its decoder
            raise UserError(f"{relpath(path)} is a damaged image: {error}.") from None


def _to_sample(
    image: Image.Image, input_spec: InputSpec, stats: ImageStats, invert: str
) -> tuple[Array, list[str]]:
    """Convert an image to the channels, size, appearance and range of the training images."""
    channels, height, width = input_spec.shape
    pixels = _flatten_alpha(image, "L" if channels == 1 else "RGB")
    pixels, changes = preprocess_image(pixels, stats, (height, width), invert)
    values = np.moveaxis(np.atleast_3d(pixels), -1, 0)
    if (input_spec.low, input_spec.high) == (0, 255):
        return values.round().astype(np.uint8), changes
    scale = (input_spec.high - input_spec.low) / 255
    return (values * scale + input_spec.low).astype(np.float32), changes


def _flatten_alpha(image: Image.Image, mode: str) -> FloatPixels:
    """Convert to `mode`; composite transparent images onto the background of higher contrast.

    16-bit and floating-point images are first scaled to 8 bits.
    """
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        levels = np.nan_to_num(np.asarray(image, np.float64)).clip(0)
        white_levels = (1, 255, 65535) if image.mode == "F" else (65535,)
        white = next((white for white in white_levels if levels.max() <= white), levels.max())
        image = Image.fromarray((levels * (255 / white)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        gray, alpha = np.asarray(image.convert("L"), float), np.asarray(image.getchannel("A"))
        mean_gray = np.average(gray, weights=alpha) if alpha.any() else 0.0
        background = (255,) * 4 if mean_gray < 128 else (0, 0, 0, 255)
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    return np.asarray(image.convert(mode), np.float64)
