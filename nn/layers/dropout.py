"""Dropout (Srivastava et al., 2014, JMLR 15)."""

from __future__ import annotations

from typing import Self

import numpy as np

from nn.errors import require
from nn.layers.layer import Layer
from nn.shards import Shard
from nn.types import Array


class Dropout(Layer):
    """Inverted dropout: in training, zero each value with probability `rate`, scale up the rest.

    The rate is rounded to a multiple of 2^-16.
    """

    def __init__(self, rate: float, rng: np.random.Generator) -> None:
        super().__init__()
        require(0 <= rate < 1, "dropout", rate, "at least 0 and below 1")
        self.drop_threshold, self.rng = min(round(rate * 2**16), 2**16 - 1), rng
        self.mask_source = self
        """The layer that draws the masks, of which a replica takes its rows."""

    def replicate(self, shard: Shard) -> Self:
        """Return a layer that takes its rows of the mask of this one."""
        replica = super().replicate(shard)
        replica.mask_source = self
        return replica

    def draw_masks(self, batch_size: int) -> None:
        """Draw the mask of a batch: 0 with probability `rate`, otherwise 1 / (1 - rate)."""
        self.mask = self.get_buffer("mask", batch_size, self.input_shape)
        # four 16-bit draws from each 64-bit integer take a third of the time of as many floats
        num_draws = -(-self.mask.size // 4)
        random_uint16 = self.rng.integers(0, 2**64, num_draws, np.uint64).view(np.uint16)
        keep_mask = random_uint16[: self.mask.size] >= self.drop_threshold
        np.multiply(
            keep_mask, self.dtype(1 / (1 - self.drop_threshold / 2**16)), out=self.mask.ravel("K")
        )

    def forward(self, x: Array, training: bool) -> Array:
        """Return x * mask in training, otherwise x itself."""
        if not training:
            return x
        if self.shard:
            self.mask = self.mask_source.mask[self.shard.rows]
        else:
            self.draw_masks(len(x))
        y = self.get_buffer("y", len(x), self.input_shape)
        np.multiply(x, self.mask, out=y)
        return y

    def backward(self, dy: Array) -> Array:
        """Return dy * mask."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        np.multiply(dy, self.mask, out=dx)
        return dx
