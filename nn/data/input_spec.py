"""What a network takes, and what its outputs are called: enough to use it without its dataset."""

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
"""Values that a sample may have."""
MAX_STATS_IMAGES = 300
"""Images that tell how all look."""


@dataclass(frozen=True)
class InputSpec:
    """The form of one sample, and what becomes of its raw values."""

    shape: Shape
    low: float  # the least and the largest raw value
    high: float
    bounded: bool  # whether nothing can lie beyond them
    look: ImageStats | None  # if samples are images
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
        """Describe the samples of a training set; their peak may be known."""
        low, high = (
            (0.0, float(max_value)) if max_value else (float(samples.min()), float(samples.max()))
        )
        shape = samples.shape[1:]
        image_stats = None
        if _is_image(shape):
            subset = samples[: min(MAX_STATS_IMAGES, max(1, MAX_SAMPLE_SIZE // math.prod(shape)))]
            image_stats = ImageStats.from_images((subset - low) / ((high - low) or 1.0))
        return cls(shape, low, high, bool(max_value), image_stats, scale, class_names)

    @property
    def to_dict(self) -> dict[str, Any]:
        """Give all of it as plain values."""
        return {
            **vars(self),
            "shape": list(self.shape),
            "look": self.look and vars(self.look),
            "scale": vars(self.scale),
            "class_names": list(self.class_names),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Take what `plain` gave, and refuse anything else."""
        if not _is_valid_spec(data):
            raise ValueError("this describes no inputs")
        converted = {
            "shape": tuple(data["shape"]),
            "look": ImageStats.from_dict(data["look"]) if _is_image(data["shape"]) else None,
            "scale": Rescaling(**data["scale"]),
            "class_names": tuple(data["class_names"]),
        }
        return cls(**{**data, **converted})


def _is_valid_spec(data: Any) -> bool:
    """Whether a value that may be anything is the description of inputs."""
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
    """Whether a sample is an image of one channel, or of the three of a colour."""
    return len(shape) == 3 and shape[0] in (1, 3)
