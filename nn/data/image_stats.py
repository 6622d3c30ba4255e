"""How the images of a training set look, so that others can be made to look so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

CLEAR = 0.25
"""A background is dark if it is darker than this, and light the other way."""
STRONG = 0.25
"""Of an image's strongest ink, the least that counts as a part of what it shows."""
Inks = NDArray[np.floating[Any]]  # images x height x width, 0 where there is paper
Spans = tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]  # where they begin, and end


@dataclass(frozen=True)
class Look:
    """What training images have in common, and a photograph may not have; shares from 0 to 1."""

    background: float  # how light their edges are
    extent: float  # of the image, how much is taken up by what it shows, the longer way
    weighed: bool  # whether it is placed by the middle of its ink, or of the rectangle around it
    down: float  # where that middle is
    across: float

    @classmethod
    def of(cls, images: NDArray[Any]) -> Self:
        """Look at images of values from 0 to 1: images x channels x height x width."""
        values = images.mean(axis=1)
        inside = np.zeros(values.shape[1:], bool)
        inside[1:-1, 1:-1] = True
        background = float(values[:, ~inside].mean())
        inks = abs(values - round(background))
        inks = inks[inks.any(axis=(1, 2))]
        if not len(inks):
            return cls(background, 1.0, False, 0.5, 0.5)
        (top, bottom), (left, right) = shown(inks)
        height, width = values.shape[1:]
        extents = np.maximum((bottom - top) / height, (right - left) / width)
        weighed = _spread(middles(inks, True)) < _spread(middles(inks, False))
        down, across = middles(inks, weighed)
        return cls(
            background,
            float(np.median(extents)),
            weighed,
            float(down.mean()) / height,
            float(across.mean()) / width,
        )

    @property
    def dark(self) -> bool:
        """Whether the images clearly have a dark background."""
        return self.background < CLEAR

    @property
    def light(self) -> bool:
        """Whether the images clearly have a light background."""
        return self.background > 1 - CLEAR

    @classmethod
    def read(cls, plain: Any) -> Self:
        """Take what the values of one were, and refuse anything else."""
        if not isinstance(plain, Mapping) or plain.keys() != cls.__annotations__.keys():
            raise ValueError("this describes no look")
        for name, value in plain.items():
            kinds = (bool,) if name == "weighed" else (int, float)
            if type(value) not in kinds or not 0 <= value <= 1:
                raise ValueError("this describes no look")
        return cls(**plain)


def shown(inks: Inks) -> tuple[Spans, Spans]:
    """Find the rows and the columns between which each image shows something."""
    strong = _strong(inks)
    return _spans(strong.any(axis=2)), _spans(strong.any(axis=1))


def middles(inks: Inks, weighed: bool) -> tuple[Inks, Inks]:
    """Find the middle of what each image shows, in rows and in columns."""
    if not weighed:
        (top, bottom), (left, right) = shown(inks)
        return (top + bottom) / 2, (left + right) / 2
    strong = _strong(inks)
    height, width = inks.shape[1:]
    whole = strong.sum(axis=(1, 2))
    down = strong.sum(axis=2) @ (np.arange(height) + 0.5) / whole
    across = strong.sum(axis=1) @ (np.arange(width) + 0.5) / whole
    return down, across


def _spread(middles: tuple[Inks, Inks]) -> float:
    return float(sum(each.std() for each in middles))


def _strong(inks: Inks) -> Inks:
    return np.where(inks < STRONG * inks.max(axis=(1, 2), keepdims=True), 0, inks)


def _spans(marked: Any) -> Spans:
    return marked.argmax(axis=1), marked.shape[1] - marked[:, ::-1].argmax(axis=1)
