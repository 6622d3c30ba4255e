"""Description of a network's inputs and classes: enough to use it without its dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from nn.batches import Rescaling
from nn.data.image_stats import ImageStats
from nn.types import Shape

MAX_SAMPLE_SIZE = 2**24
"""Largest accepted number of values in one sample."""
MAX_STATS_IMAGES = 300
"""Images from which the image statistics are computed."""


@dataclass(frozen=True)
class InputSpec:
    """Shape, value range and scaling of one sample, and the names of the classes."""

    shape: Shape
    low: float  # smallest and largest raw value
    high: float
    bounded: bool  # whether values outside of that range are impossible
    look: ImageStats | None  # None if the samples are not images
    scale: Rescaling
    class_names: tuple[str, ...]

    @classmethod
    def from_samples(
        cls,
        samples: NDArray[Any],
        max_value: float | None,
        scale: Rescaling,
        class_names: tuple[str, ...],
    ) -> Self:
        """Describe the samples of a training set; `max_value` is None if it is not known."""
        low, high = value_range(samples, max_value)
        shape = samples.shape[1:]
        image_stats = None
        if _is_image(shape):
            subset = samples[: min(MAX_STATS_IMAGES, max(1, MAX_SAMPLE_SIZE // math.prod(shape)))]
            image_stats = ImageStats.from_images((subset - low) / ((high - low) or 1.0))
        return cls(shape, low, high, bool(max_value), image_stats, scale, class_names)

    @property
    def to_dict(self) -> dict[str, Any]:
        """The fields as values that JSON can represent."""
        return {
            **vars(self),
            "shape": list(self.shape),
            "look": self.look and vars(self.look),
            "scale": vars(self.scale),
            "class_names": list(self.class_names),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Restore from `to_dict`; raise ValueError for anything else, since files are untrusted."""
        if not _is_valid_spec(data):
            raise ValueError("not a description of inputs")
        converted = {
            "shape": tuple(data["shape"]),
            "look": ImageStats.from_dict(data["look"]) if _is_image(data["shape"]) else None,
            "scale": Rescaling(**data["scale"]),
            "class_names": tuple(data["class_names"]),
        }
        return cls(**{**data, **converted})


def value_range(samples: NDArray[Any], max_value: float | None) -> tuple[float, float]:
    """Return the range of raw values: from 0 to `max_value` if that is known, else as observed."""
    return (0.0, float(max_value)) if max_value else (float(samples.min()), float(samples.max()))


def _is_valid_spec(data: Any) -> bool:
    """Whether an untrusted value has the keys, types and ranges that `to_dict` produces."""
    if not isinstance(data, Mapping) or data.keys() != InputSpec.__annotations__.keys():
        return False
    shape, scale, names = data["shape"], data["scale"], data["class_names"]
    if not isinstance(scale, Mapping) or scale.keys() != Rescaling.__annotations__.keys():
        return False
    numbers = [data["low"], data["high"], *scale.values()]
    return (
        type(data["bounded"]) is bool
        and isinstance(shape, list)
        and all(type(size) is int and size > 0 for size in shape)
        and 0 < len(shape) < 32
        and math.prod(shape) <= MAX_SAMPLE_SIZE
        and isinstance(names, list)
        and bool(names)
        and all(isinstance(name, str) for name in names)
        and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    )


def _is_image(shape: Sequence[int]) -> bool:
    """Whether a shape is that of a grayscale or RGB image: channels, height, width."""
    return len(shape) == 3 and shape[0] in (1, 3)
