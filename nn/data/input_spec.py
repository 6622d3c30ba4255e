"""What a network takes, and what its outputs are called: enough to use it without its dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from nn.batches import Scale
from nn.data.image_stats import Look
from nn.types import Shape

LARGEST = 2**24
"""Values that a sample may have."""
LOOKED_AT = 300
"""Images that tell how all look."""


@dataclass(frozen=True)
class Inputs:
    """The form of one sample, and what becomes of its raw values."""

    shape: Shape
    low: float  # the least and the largest raw value
    high: float
    bounded: bool  # whether nothing can lie beyond them
    look: Look | None  # if samples are images
    scale: Scale
    class_names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        learned: NDArray[Any],
        peak: float | None,
        scale: Scale,
        class_names: tuple[str, ...],
    ) -> Self:
        """Describe the samples of a training set; their peak may be known."""
        low, high = (0.0, float(peak)) if peak else (float(learned.min()), float(learned.max()))
        shape = learned.shape[1:]
        look = None
        if _is_image(shape):
            some = learned[: min(LOOKED_AT, max(1, LARGEST // math.prod(shape)))]
            look = Look.of((some - low) / ((high - low) or 1.0))
        return cls(shape, low, high, bool(peak), look, scale, class_names)

    @property
    def plain(self) -> dict[str, Any]:
        """Give all of it as plain values."""
        return {
            **vars(self),
            "shape": list(self.shape),
            "look": self.look and vars(self.look),
            "scale": vars(self.scale),
            "class_names": list(self.class_names),
        }

    @classmethod
    def read(cls, plain: Any) -> Self:
        """Take what `plain` gave, and refuse anything else."""
        if not _describes_inputs(plain):
            raise ValueError("this describes no inputs")
        given = {
            "shape": tuple(plain["shape"]),
            "look": Look.read(plain["look"]) if _is_image(plain["shape"]) else None,
            "scale": Scale(**plain["scale"]),
            "class_names": tuple(plain["class_names"]),
        }
        return cls(**{**plain, **given})


def _describes_inputs(plain: Any) -> bool:
    """Whether a value that may be anything is the description of inputs."""
    if not isinstance(plain, Mapping) or plain.keys() != Inputs.__annotations__.keys():
        return False
    shape, scale, names = plain["shape"], plain["scale"], plain["class_names"]
    if not isinstance(scale, Mapping) or scale.keys() != Scale.__annotations__.keys():
        return False
    numbers = [plain["low"], plain["high"], *scale.values()]
    return (
        type(plain["bounded"]) is bool
        and isinstance(shape, list)
        and all(type(size) is int and size > 0 for size in shape)
        and 0 < len(shape) < 32
        and math.prod(shape) <= LARGEST
        and isinstance(names, list)
        and bool(names)
        and all(isinstance(name, str) for name in names)
        and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    )


def _is_image(shape: Sequence[int]) -> bool:
    """Whether a sample is an image of one channel, or of the three of a colour."""
    return len(shape) == 3 and shape[0] in (1, 3)
