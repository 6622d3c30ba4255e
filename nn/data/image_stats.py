"""Background, size and position of objects in training images, to preprocess others alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nn.types import Array

BACKGROUND_TOLERANCE = 0.25
"""A background is dark below this level, and light above one minus it."""
FOREGROUND_THRESHOLD = 0.25
"""Minimum of a foreground pixel, as a fraction of the image's strongest one."""
ForegroundMaps = NDArray[np.floating[Any]]  # images x height x width, 0 in the background
Spans = tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]  # first and last + 1 per image


@dataclass(frozen=True)
class ImageStats:
    """Properties that training images share and a photograph may lack; all from 0 to 1."""

    background: float  # mean level of the image edges
    extent: float  # median of the object's longer side, relative to the image
    weighed: bool  # whether objects are centered by mass rather than by bounding box
    down: float  # mean center of the objects, relative to height and width
    across: float

    @classmethod
    def from_images(cls, images: NDArray[Any]) -> Self:
        """Measure images of values from 0 to 1: images x channels x height x width."""
        values = images.mean(axis=1)
        interior = np.zeros(values.shape[1:], bool)
        interior[1:-1, 1:-1] = True
        background = float(values[:, ~interior].mean())
        foreground = abs(values - round(background))
        foreground = foreground[foreground.any(axis=(1, 2))]
        if not len(foreground):
            return cls(background, 1.0, False, 0.5, 0.5)
        (top, bottom), (left, right) = bounding_boxes(foreground)
        height, width = values.shape[1:]
        extents = np.maximum((bottom - top) / height, (right - left) / width)
        by_mass = _total_std(centers(foreground, True)) < _total_std(centers(foreground, False))
        center_y, center_x = centers(foreground, by_mass)
        return cls(
            background,
            float(np.median(extents)),
            by_mass,
            float(center_y.mean()) / height,
            float(center_x.mean()) / width,
        )

    @property
    def has_dark_background(self) -> bool:
        """Whether the images clearly have a dark background."""
        return self.background < BACKGROUND_TOLERANCE

    @property
    def has_light_background(self) -> bool:
        """Whether the images clearly have a light background."""
        return self.background > 1 - BACKGROUND_TOLERANCE

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Restore from `vars()`; raise ValueError for anything else, since files are untrusted."""
        if not isinstance(data, Mapping) or data.keys() != cls.__annotations__.keys():
            raise ValueError("not a description of image statistics")
        for name, value in data.items():
            types = (bool,) if name == "weighed" else (int, float)
            if type(value) not in types or not 0 <= value <= 1:
                raise ValueError("not a description of image statistics")
        return cls(**data)


def bounding_boxes(foreground: ForegroundMaps) -> tuple[Spans, Spans]:
    """Return the spans of rows and of columns that the foreground of each image covers."""
    visible = _suppress_faint(foreground)
    return _mask_spans(visible.any(axis=2)), _mask_spans(visible.any(axis=1))


def centers(foreground: ForegroundMaps, by_mass: bool) -> tuple[Array, Array]:
    """Return the center of each foreground in pixels, y and x: of its mass or its bounding box."""
    if not by_mass:
        (top, bottom), (left, right) = bounding_boxes(foreground)
        return (top + bottom) / 2, (left + right) / 2
    visible = _suppress_faint(foreground)
    height, width = foreground.shape[1:]
    total_mass = visible.sum(axis=(1, 2))
    center_y = visible.sum(axis=2) @ (np.arange(height) + 0.5) / total_mass
    center_x = visible.sum(axis=1) @ (np.arange(width) + 0.5) / total_mass
    return center_y, center_x


def _total_std(coordinates: tuple[Array, Array]) -> float:
    return float(sum(axis.std() for axis in coordinates))


def _suppress_faint(foreground: ForegroundMaps) -> ForegroundMaps:
    return np.where(
        foreground < FOREGROUND_THRESHOLD * foreground.max(axis=(1, 2), keepdims=True),
        0,
        foreground,
    )


def _mask_spans(mask: Any) -> Spans:
    return mask.argmax(axis=1), mask.shape[1] - mask[:, ::-1].argmax(axis=1)
