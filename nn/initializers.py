"""How weights begin: random, with a spread that keeps signals alive through the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from nn.types import Array

Initializer: TypeAlias = Callable[[Array, int, np.random.Generator], None]
"""Fills a weight array whose units each have so many inputs."""


def he_normal(weight: Array, inputs: int, rng: np.random.Generator) -> None:
    """For ReLU, which halves the variance (He et al., 2015, arXiv:1502.01852)."""
    weight[...] = rng.standard_normal(weight.shape) * np.sqrt(2 / inputs)
