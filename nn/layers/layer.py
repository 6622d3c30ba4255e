"""Base class of layers: a function, its derivative, and reusable buffers.

A network builds its layers once, which fixes shapes and parameters, and then calls `forward` and
`backward` in turn. A layer writes into its own buffers, one set per batch size, so that training
allocates nothing in the steady state; the next call overwrites the returned array.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from nn.arrays import aligned_full
from nn.shards import Shard
from nn.types import Array, Shape


class Layer:
    """Base class of layers; subclasses with parameters declare, bind and initialize them."""

    needs_input_grad = True
    """Whether `backward` must return the gradient with respect to the input."""

    shard: Shard | None = None
    """The part of each batch that `forward` receives in training, unless that is all of it."""

    output_shape: Shape
    """Shape of one output sample, set by the enclosing `Sequential`."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, int], Array] = {}
        self.state: dict[str, Array] = {}

    @property
    def type_name(self) -> str:
        """Lower-case class name, used in layer tables and parameter names."""
        return type(self).__name__.lower()

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Prepare for the shape of one input sample, and return that of one output sample."""
        self.input_shape, self.dtype = input_shape, dtype
        return input_shape

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """Shapes of the parameters by name, known after `build`."""
        return {}

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Store the views of this layer's parameters and of their gradients."""

    def initialize(self, rng: np.random.Generator) -> None:
        """Set the initial values of the parameters."""

    def replicate(self, shard: Shard) -> Self:
        """Return a layer for one shard, with the same state but buffers of its own.

        The parameters are yet to be bound. All other attributes are shared, so `forward` and
        `backward` may assign them, but must not change an array in them in place.
        """
        replica = copy.copy(self)
        replica.shard, replica._buffers = shard, {}
        return replica

    def draw_masks(self, batch_size: int) -> None:
        """Draw the random numbers for a training batch, before its shards are computed."""

    def forward(self, x: Array, training: bool) -> Array:
        """Compute y (batch, *output_shape) from x (batch, *input_shape)."""
        raise NotImplementedError

    def backward(self, dy: Array) -> Array:
        """Store the parameter gradients, and return dx, given dy = d loss / d y."""
        raise NotImplementedError

    def get_buffer(
        self,
        name: str,
        batch_size: int,
        shape: Shape,
        dtype: type[np.generic] | None = None,
        order: Literal["C", "F"] = "C",
        fill: float = 0,
    ) -> NDArray[Any]:
        """Return an array that is reused from call to call, filled only when it is created.

        The array is looked up by name and batch size, so a name must always be used with the same
        shape and dtype. Images (batch, channels, height, width) are laid out as (height, width,
        channels, batch) in memory, so that what lies at one pixel is one long run.
        """
        try:
            return self._buffers[name, batch_size]
        except KeyError:
            if len(shape) > 2:
                memory_shape = (*shape[1:], shape[0], batch_size)
                array = aligned_full(memory_shape, fill, dtype or self.dtype)
                array = np.moveaxis(array, (-1, -2), (0, 1))
            else:
                array = aligned_full((batch_size, *shape), fill, dtype or self.dtype, order)
            return self._buffers.setdefault((name, batch_size), array)


def in_memory_order(images: Array) -> Array:
    """View images (batch, channels, height, width) as (height, width, channels, batch)."""
    return images.transpose(*range(2, images.ndim), 1, 0)
