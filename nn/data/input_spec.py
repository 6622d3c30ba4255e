"""Description of a network's inputs and classes: enough to use it without its dataset."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from nn.batches import Rescaling
from nn.types import Array, Shape

MAX_SAMPLE_SIZE = 2**24
"""Largest accepted number of values in one sample."""
MAX_STATS_IMAGES = 300
"""Images from which the image statistics are computed."""
BACKGROUND_TOLERANCE = 0.25
"""A background is dark below this level, and light above one minus it."""
FOREGROUND_THRESHOLD = 0.25
"""Minimum of a foreground pixel, as a fraction of the image's strongest one."""
ForegroundMaps = NDArray[np.floating]  # images x height x width, 0 in the background
Spans = tuple[NDArray[np.integer], NDArray[np.integer]]  # first and last + 1 per image
Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Shape, value range and scaling of one sample, and the names of the classes."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    shape: Annotated[Shape, Field(min_length=1, max_length=31)]
    low: float  # smallest and largest raw value
    high: float
    is_bounded: bool  # whether values outside of that range are impossible
    image_stats: ImageStats | None  # None if the samples are not images
    rescaling: Rescaling
    class_names: Annotated[tuple[str, ...], Field(min_length=1)]

    @classmethod
    def from_samples(
        cls,
        samples: NDArray[np.number],
        max_value: float | None,
        rescaling: Rescaling,
        class_names: tuple[str, ...],
    ) -> Self:
        """Describe the samples of a training set; `max_value` is None if it is not known."""
        low, high = value_range(samples, max_value)
        shape = samples.shape[1:]
        image_stats = None
        if _is_image(shape):
            subset = samples[: min(MAX_STATS_IMAGES, max(1, MAX_SAMPLE_SIZE // math.prod(shape)))]
            image_stats = ImageStats.from_images((subset - low) / ((high - low) or 1.0))
        return cls(
            shape=shape,
            low=low,
            high=high,
            is_bounded=bool(max_value),
            image_stats=image_stats,
            rescaling=rescaling,
            class_names=class_names,
        )

    @classmethod
    def from_dict(cls, data: JsonValue) -> Self:
        """Restore from `to_dict()`; raise ValueError for anything else, as files are untrusted."""
        try:
            spec = TypeAdapter(cls).validate_json(json.dumps(data))
        except (ValueError, RecursionError):
            raise ValueError("not a description of inputs") from None
        is_valid_shape = min(spec.shape) > 0 and math.prod(spec.shape) <= MAX_SAMPLE_SIZE
        has_valid_stats = (spec.image_stats is not None) == _is_image(spec.shape)
        if not (is_valid_shape and has_valid_stats and spec.to_dict() == data):
            raise ValueError("not a description of inputs")
        return spec

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the fields as values that JSON can represent."""
        fields: dict[str, JsonValue] = _get_adapter().dump_python(self, mode="json")
        return fields


@dataclass(frozen=True)
class ImageStats:
    """Properties that training images share and a photograph may lack; all from 0 to 1."""

    background: Fraction  # mean level of the image edges
    extent: Fraction  # median of the object's longer side, relative to the image
    centered_by_mass: bool  # whether objects are centered by mass rather than by bounding box
    center_y: Fraction  # mean center of the objects, relative to height and width
    center_x: Fraction

    @classmethod
    def from_images(cls, images: NDArray[np.number]) -> Self:
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


def value_range(samples: NDArray[np.number], max_value: float | None) -> tuple[float, float]:
    """Return the range of raw values: from 0 to `max_value` if that is known, else as observed."""
    return (0.0, float(max_value)) if max_value else (float(samples.min()), float(samples.max()))


def bounding_boxes(foreground: ForegroundMaps) -> tuple[Spans, Spans]:
    """Return the spans of rows and of columns that the foreground of each image covers."""
    visible = _suppress_faint(foreground)
    return _spans(visible, 1), _spans(visible, 2)


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
    threshold = FOREGROUND_THRESHOLD * foreground.max(axis=(1, 2), keepdims=True)
    return np.where(foreground < threshold, 0, foreground)


def _spans(visible: ForegroundMaps, axis: int) -> Spans:
    mask = np.asarray(visible.any(axis=3 - axis))
    return mask.argmax(axis=1), mask.shape[1] - mask[:, ::-1].argmax(axis=1)


@cache
def _get_adapter() -> TypeAdapter[InputSpec]:
    return TypeAdapter(InputSpec)


def _is_image(shape: Sequence[int]) -> bool:
    """Whether a shape is that of a grayscale or RGB image: channels, height, width."""
    return len(shape) == 3 and shape[0] in (1, 3)
