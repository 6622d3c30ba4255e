"""Training images moved, turned, mirrored and disturbed a little, each in its own way.

A whole batch is changed at once. A pixel of the result looks up where it comes from, and takes
the mean of the four pixels around that place, weighted by how near they are.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from nn.errors import Mistake, require
from nn.types import Array, Shape


@dataclass(frozen=True)
class Augmentation:
    """How far images may be changed: each is changed by chance between nothing and that."""

    shift: float = 0.0
    """by this share of the side"""
    rotation: float = 0.0
    """in degrees"""
    scale: float = 0.0
    """larger or smaller by this share"""
    shear: float = 0.0
    """slanted by this share of the height"""
    flip: bool = False
    """half of the images mirrored, left to right"""
    noise: float = 0.0
    """standard deviation of what is added to each pixel"""
    erase: float = 0.0
    """sides of a rectangle that is blanked, as a share of the image's"""

    def __post_init__(self) -> None:
        require(self.noise >= 0, "noise", self.noise, "at least 0")
        require(0 <= self.rotation <= 180, "rotation", self.rotation, "from 0 to 180 degrees")
        for name in ("shift", "scale", "shear", "erase"):
            value = getattr(self, name)
            require(0 <= value < 1, name, value, "at least 0 and below 1")

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return any(astuple(self))

    def check(self, shape: Shape) -> None:
        """Refuse samples that are no images."""
        if self.active and len(shape) != 3:
            raise Mistake(
                f"augmentation: samples of shape {shape} are no images, which have channels, "
                "height and width; choose augmentation=none."
            )

    def apply(self, images: Array, background: float, rng: np.random.Generator) -> Array:
        """Change a batch of images; what comes in from outside is background."""
        if self.shift or self.rotation or self.scale or self.shear:
            images = self._moved(images, background, rng)
        if self.flip:
            mirrored = rng.random(len(images)) < 0.5
            images[mirrored] = images[mirrored, ..., ::-1]
        if self.erase:
            np.copyto(images, background, where=self._rectangles(images.shape, rng))
        if self.noise:
            images += rng.standard_normal(images.shape, images.dtype) * images.dtype.type(
                self.noise
            )
        return images

    def _moved(self, images: Array, background: float, rng: np.random.Generator) -> Array:
        """Look up each pixel where an affine map says that it comes from."""
        batch, channels, height, width = images.shape
        turn = np.deg2rad(self.rotation) * rng.uniform(-1, 1, batch)
        slant = self.shear * rng.uniform(-1, 1, batch)
        size = 1 + self.scale * rng.uniform(-1, 1, batch)
        down = height * self.shift * rng.uniform(-1, 1, batch)
        right = width * self.shift * rng.uniform(-1, 1, batch)
        cos, sin = np.cos(turn) / size, np.sin(turn) / size

        y = np.arange(height) - (height - 1) / 2
        x = np.arange(width) - (width - 1) / 2
        rows = _plane(cos, y, -sin, x, down + (height - 1) / 2)
        columns = _plane(sin + slant, y, cos, x, right + (width - 1) / 2)

        padded = np.full((channels, batch, height + 2, width + 2), background, images.dtype)
        padded[:, :, 1:-1, 1:-1] = images.swapaxes(0, 1)
        flat = padded.reshape(channels, -1)
        top, below = _corner(rows, height)
        left, beside = _corner(columns, width)
        corner = top * (width + 2) + left
        corner += (np.arange(batch, dtype=np.int32) * ((height + 2) * (width + 2)))[:, None, None]

        def look(offset: int) -> Array:
            values: Array = flat.take(corner + offset, axis=1, mode="clip")
            return values

        upper = look(0)
        upper += (look(1) - upper) * beside
        lower = look(width + 2)
        lower += (look(width + 3) - lower) * beside
        upper += (lower - upper) * below
        return upper.swapaxes(0, 1)

    def _rectangles(self, shape: Shape, rng: np.random.Generator) -> np.ndarray[Shape, np.dtype]:
        """Mark a rectangle in each image."""
        batch, _, height, width = shape
        inside = []
        for side in (height, width):
            length = side * self.erase * rng.random((batch, 1))
            start = (side - length) * rng.random((batch, 1))
            places = np.arange(side)
            inside.append((places >= start) & (places < start + length))
        return inside[0][:, None, :, None] & inside[1][:, None, None, :]


def _plane(by_y: Array, y: Array, by_x: Array, x: Array, start: Array) -> Array:
    """by_y * y + by_x * x + start, for each image and pixel, in single precision."""
    along_y = (by_y[:, None] * y + start[:, None]).astype(np.float32)
    along_x = (by_x[:, None] * x).astype(np.float32)
    return along_y[:, :, None] + along_x[:, None, :]


def _corner(places: Array, side: int) -> tuple[np.ndarray[Shape, np.dtype[np.int32]], Array]:
    """Part places into the padded pixel before them, and how far they are beyond it."""
    places += 1
    np.clip(places, 0, side + 1 - 1e-3, out=places)
    whole = places.astype(np.int32)
    places -= whole
    return whole, places
