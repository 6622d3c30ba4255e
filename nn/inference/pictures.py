"""PNG and JPEG files of any size, made into what a network was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nn.data.files import opened
from nn.data.inputs import Inputs
from nn.data.look import Look
from nn.errors import Mistake
from nn.inference.adapted import Pixels, adapted
from nn.tracking.places import short
from nn.types import Array

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
MAGIC = (b"\x89PNG", b"\xff\xd8\xff")
FORMATS = ("PNG", "JPEG")


@dataclass(frozen=True)
class Pictures:
    """Images as samples, and what was done to each."""

    images: Array
    names: Sequence[str]
    notes: Sequence[str]


def is_picture(path: Path) -> bool:
    """Whether a file is an image, by its name or by how it begins."""
    if path.suffix.lower() in SUFFIXES:
        return True
    with opened(path) as content:
        return content.read(4).startswith(MAGIC)


def read(paths: Sequence[Path], inputs: Inputs, invert: str) -> Pictures:
    """Read images one by one."""
    if inputs.look is None:
        sizes = " x ".join(map(str, inputs.shape))
        raise Mistake(
            f"{short(paths[0])}: the model takes samples of {sizes}, which are no images."
        )
    images, notes = [], []
    for path in paths:
        image, done = _sample(_opened(path), inputs, inputs.look, invert)
        images.append(image)
        if done:
            notes.append(f"{short(path)}: {', '.join(done)}")
    return Pictures(np.stack(images), [short(path) for path in paths], notes)


def _opened(path: Path) -> Image.Image:
    """Decode a file, and refuse one that is no image, or too large a one."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    with opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if not file.read(1):
            raise Mistake(f"{short(path)} is empty.")
        file.seek(0)
        try:
            image = Image.open(file, formats=FORMATS)
            image.load()
            return ImageOps.exif_transpose(image)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise Mistake(f"{short(path)} has more pixels than an image should have.") from None
        except UnidentifiedImageError:
            raise Mistake(f"{short(path)} is no PNG and no JPEG image.") from None
        except Exception as error:  # what a damaged image does to a decoder is not to be foreseen
            raise Mistake(f"{short(path)} is a damaged image: {error}.") from None


def _sample(image: Image.Image, inputs: Inputs, look: Look, invert: str) -> tuple[Array, list[str]]:
    """Bring an image to the channels, size, look and range of the training images."""
    channels, height, width = inputs.shape
    pixels = _flattened(image, "L" if channels == 1 else "RGB")
    pixels, done = adapted(pixels, look, (height, width), invert)
    values = np.moveaxis(np.atleast_3d(pixels), -1, 0)
    if (inputs.low, inputs.high) == (0, 255):
        return values.round().astype(np.uint8), done
    span = (inputs.high - inputs.low) / 255
    return (values * span + inputs.low).astype(np.float32), done


def _flattened(image: Image.Image, mode: str) -> Pixels:
    """Lay what is transparent on a paper from which the visible pixels stand out."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image, np.float64)
        image = Image.fromarray((levels * (255 / max(levels.max(), 65535))).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        grey, alpha = np.asarray(image.convert("L"), float), np.asarray(image.getchannel("A"))
        ink = np.average(grey, weights=alpha) if alpha.any() else 0.0
        paper = (255,) * 4 if ink < 128 else (0, 0, 0, 255)
        image = Image.alpha_composite(Image.new("RGBA", image.size, paper), image)
    return np.asarray(image.convert(mode), np.float64)
