"""Random translation, rotation, scaling, shear, flips, noise and erasing of training images.

A whole batch is transformed at once, each image with its own random parameters. Affine maps are
applied backwards: each output pixel is interpolated bilinearly at its source coordinates.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from nn.errors import UserError
from nn.types import Array, Fraction, NonNegative, Range, Shape, check_settings


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Maximum strength of each transformation; each image draws its own up to that."""

    shift: Fraction = 0.0
    """Maximum translation as a fraction of the image side."""
    rotation: Annotated[float, Range(ge=0, le=180)] = 0.0
    """Maximum rotation in degrees."""
    scale: Fraction = 0.0
    """Maximum relative change in size, in either direction."""
    shear: Fraction = 0.0
    """Maximum shear: horizontal displacement as a fraction of the height."""
    flip: bool = False
    """Whether to flip images horizontally, with probability 0.5."""
    noise: NonNegative = 0.0
    """Standard deviation of the Gaussian noise added to each pixel."""
    erase: Fraction = 0.0
    """Maximum sides of the erased rectangle as a fraction of the image sides."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def is_active(self) -> bool:
        """Whether any transformation is enabled."""
        return any(astuple(self))

    def check_shape(self, shape: Shape) -> None:
        """Raise a UserError if samples of this shape cannot be augmented."""
        if self.is_active and len(shape) != 3:
            raise UserError(
                f"augmentation: samples of shape {shape} are not images, which have channels, "
                "height and width; choose augmentation=none."
            )

    def apply(self, images: Array, background: float, rng: np.random.Generator) -> Array:
        """Augment a batch in normalized units, filling uncovered areas with `background`."""
        if self.shift or self.rotation or self.scale or self.shear:
            images = self._affine_transform(images, background, rng)
        if self.flip:
            is_flipped = rng.random(len(images)) < 0.5
            images[is_flipped] = images[is_flipped, ..., ::-1]
        if self.erase:
            np.copyto(images, background, where=self._erase_mask(images.shape, rng))
        if self.noise:
            images += rng.standard_normal(images.shape, images.dtype) * images.dtype.type(
                self.noise
            )
        return images

    def _affine_transform(
        self, images: Array, background: float, rng: np.random.Generator
    ) -> Array:
        """Resample each image under a random affine map, with bilinear interpolation."""
        batch_size, channels, height, width = images.shape
        angle = np.deg2rad(self.rotation) * rng.uniform(-1, 1, batch_size)
        shear = self.shear * rng.uniform(-1, 1, batch_size)
        scale = 1 + self.scale * rng.uniform(-1, 1, batch_size)
        shift_y = height * self.shift * rng.uniform(-1, 1, batch_size)
        shift_x = width * self.shift * rng.uniform(-1, 1, batch_size)
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale

        y = np.arange(height) - (height - 1) / 2
        x = np.arange(width) - (width - 1) / 2
        source_y = _affine_coordinates(cos, y, -sin, x, shift_y + (height - 1) / 2)
        source_x = _affine_coordinates(sin + shear, y, cos, x, shift_x + (width - 1) / 2)

        padded = np.full((channels, batch_size, height + 2, width + 2), background, images.dtype)
        padded[:, :, 1:-1, 1:-1] = images.swapaxes(0, 1)
        flat = padded.reshape(channels, -1)
        row, row_fraction = _floor_and_fraction(source_y, height)
        column, column_fraction = _floor_and_fraction(source_x, width)
        flat_index = row * (width + 2) + column
        flat_index += (np.arange(batch_size, dtype=np.int32) * ((height + 2) * (width + 2)))[
            :, None, None
        ]

        def gather(offset: int) -> Array:
            values: Array = flat.take(flat_index + offset, axis=1, mode="clip")
            return values

        upper = gather(0)
        upper += (gather(1) - upper) * column_fraction
        lower = gather(width + 2)
        lower += (gather(width + 3) - lower) * column_fraction
        upper += (lower - upper) * row_fraction
        return upper.swapaxes(0, 1)

    def _erase_mask(self, shape: Shape, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return a mask of one random rectangle per image: batch x 1 x height x width."""
        batch_size, _, height, width = shape
        masks = []
        for side in (height, width):
            length = side * self.erase * rng.random((batch_size, 1))
            start = (side - length) * rng.random((batch_size, 1))
            positions = np.arange(side)
            masks.append((positions >= start) & (positions < start + length))
        return masks[0][:, None, :, None] & masks[1][:, None, None, :]


def _affine_coordinates(coef_y: Array, y: Array, coef_x: Array, x: Array, offset: Array) -> Array:
    """Return coef_y * y + coef_x * x + offset per image and pixel, in single precision."""
    along_y = (coef_y[:, None] * y + offset[:, None]).astype(np.float32)
    along_x = (coef_x[:, None] * x).astype(np.float32)
    return along_y[:, :, None] + along_x[:, None, :]


def _floor_and_fraction(coordinates: Array, size: int) -> tuple[NDArray[np.int32], Array]:
    """Split coordinates into the preceding pixel of the padded image and the fraction, in place."""
    coordinates += 1
    np.clip(coordinates, 0, size + 1 - 1e-3, out=coordinates)
    floor = coordinates.astype(np.int32)
    coordinates -= floor
    return floor, coordinates
