"""Image files of any size, made into what a network was trained on."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nn.data import formats
from nn.data.files import opened, read_exactly
from nn.data.image_stats import Look
from nn.data.input_spec import Inputs
from nn.errors import Mistake
from nn.io.paths import short
from nn.predict.preprocessing import Pixels, adapted
from nn.types import Array

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".bmp")
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
LISTED = "PNG, JPEG, GIF, TIFF, WebP or BMP"
MOST_BYTES = 1 << 29


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
    found = formats.identify(formats.read_head(path))
    return found is not None and found.kind == "image"


def read(paths: Sequence[Path], inputs: Inputs, invert: str) -> Pictures:
    """Read images one by one."""
    if inputs.look is None:
        sizes = " x ".join(map(str, inputs.shape))
        raise Mistake(
            f"{short(paths[0])}: the model takes samples of {sizes}, which are no images."
        )
    images, notes = [], []
    for path in paths:
        decoded, has_more = _opened(path)
        image, done = _sample(decoded, inputs, inputs.look, invert)
        images.append(image)
        done = [*(["only the first of its frames"] if has_more else []), *done]
        if done:
            notes.append(f"{short(path)}: {', '.join(done)}")
    # a file name may be any bytes, and a text only what UTF-8 can write
    names = [os.fsencode(short(path)).decode(errors="backslashreplace") for path in paths]
    return Pictures(np.stack(images), names, notes)


def _opened(path: Path) -> tuple[Image.Image, bool]:
    """Decode a file, and say whether it has more images than the first.

    A file that is not an image, or too large a one, is refused.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with opened(path) as file:
        data = read_exactly(file, MOST_BYTES + 1)
    if not data:
        raise Mistake(f"{short(path)} is empty.")
    if len(data) > MOST_BYTES:
        raise Mistake(f"{short(path)} has more than {MOST_BYTES:,} bytes.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            has_more = bool(getattr(image, "is_animated", False))
            image.seek(0)
            image.load()
            if image.mode == "LAB":
                return image.convert("RGB"), has_more
            return ImageOps.exif_transpose(image), has_more
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise Mistake(f"{short(path)} has more pixels than an image should have.") from None
        except UnidentifiedImageError:
            found = formats.identify(bytes(data[: formats.HEAD_BYTES]))
            if found is not None and found.kind != "image":
                raise formats.wrong_format(short(path), found, f"an image ({LISTED})") from None
            raise Mistake(f"{short(path)} is not an image that can be read ({LISTED}).") from None
        except Exception as error:  # a damaged image may do anything to its decoder
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
        levels = np.nan_to_num(np.asarray(image, np.float64)).clip(0)
        tops = (1, 255, 65535) if image.mode == "F" else (65535,)
        top = next((top for top in tops if levels.max() <= top), levels.max())
        image = Image.fromarray((levels * (255 / top)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        grey, alpha = np.asarray(image.convert("L"), float), np.asarray(image.getchannel("A"))
        ink = np.average(grey, weights=alpha) if alpha.any() else 0.0
        paper = (255,) * 4 if ink < 128 else (0, 0, 0, 255)
        image = Image.alpha_composite(Image.new("RGBA", image.size, paper), image)
    return np.asarray(image.convert(mode), np.float64)
