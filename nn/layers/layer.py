"""What every layer is: a function with a derivative, and buffers that it keeps.

A network connects its layers once, which fixes shapes and parameters. Then it calls `forward`
and `backward` in turn. A layer writes into buffers of its own, one set per batch size, so that
training allocates nothing; what it returns is overwritten by its next call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nn.types import Array, Shape


class Layer:
    """A layer without parameters; the other layers add theirs."""

    needs_input_grad = True
    """Whether a layer below has a use for the derivative by the input."""

    output_shape: Shape
    """The shape of what becomes of a sample; a chain notes it."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, int], Array] = {}
        self.state: dict[str, Array] = {}

    @property
    def type_name(self) -> str:
        """The name by which tables and parameters call it."""
        return type(self).__name__.lower()

    def build(self, input_shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Take the shape of one sample, and give the shape of what becomes of it."""
        self.input_shape, self.dtype = input_shape, dtype
        return input_shape

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """The parameters that a connected layer needs."""
        return {}

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Take the views of this layer's parameters and of their gradients."""

    def initialize(self, rng: np.random.Generator) -> None:
        """Give the parameters their first values."""

    def forward(self, x: Array, training: bool) -> Array:
        """Compute the outputs of a batch."""
        raise NotImplementedError

    def backward(self, dy: Array) -> Array:
        """Turn the derivative by the outputs into that by the inputs, and keep the gradients."""
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
        """Give an array that is kept from call to call, filled once.

        The samples of a batch of images lie side by side in memory, pixel by pixel: whatever moves
        over an image then goes in long, even strides.
        """
        try:
            return self._buffers[name, batch_size]
        except KeyError:
            if len(shape) > 2:
                array = np.moveaxis(np.full((*shape, batch_size), fill, dtype or self.dtype), -1, 0)
            else:
                array = np.full((batch_size, *shape), fill, dtype or self.dtype, order)
            return self._buffers.setdefault((name, batch_size), array)
