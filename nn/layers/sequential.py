"""Containers of layers, which are layers themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np

from nn.errors import UserError
from nn.layers.layer import Layer
from nn.shards import Shard
from nn.types import Array, Shape


class Sequential(Layer):
    """Layers applied one after the other: y = layer_n(... layer_2(layer_1(x)))."""

    first_trainable = 0
    """Index of the last layer that `backward` reaches."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = list(layers)
        self.layer_names = _number_layers(self.layers)
        self.state = {}

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Build each layer for the output shape of the one before."""
        shape = super().build(input_shape, dtype)
        for name, layer in zip(self.layer_names, self.layers, strict=True):
            try:
                shape = layer.build(shape, dtype)
            except UserError as error:
                raise UserError(f"Layer {name}: {error}") from None
            layer.output_shape = shape
            self.state |= {f"{name}.{key}": array for key, array in layer.state.items()}
        return shape

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """Shapes of the parameters of all layers, as `layer.parameter`."""
        return {
            f"{name}.{key}": shape
            for name, layer in zip(self.layer_names, self.layers, strict=True)
            for key, shape in layer.parameter_shapes.items()
        }

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Pass each layer its views."""
        for name, layer in zip(self.layer_names, self.layers, strict=True):
            keys = layer.parameter_shapes
            layer.bind_parameters(
                {key: parameters[f"{name}.{key}"] for key in keys},
                {key: gradients[f"{name}.{key}"] for key in keys},
            )

    def initialize(self, rng: np.random.Generator) -> None:
        """Initialize the layers in order, all from one generator."""
        for layer in self.layers:
            layer.initialize(rng)

    def replicate(self, shard: Shard) -> Self:
        """Return a container of replicas."""
        replica = super().replicate(shard)
        replica.layers = [layer.replicate(shard) for layer in self.layers]
        return replica

    def draw_masks(self, batch_size: int) -> None:
        """Draw the masks of all layers in order."""
        for layer in self.layers:
            layer.draw_masks(batch_size)

    def forward(self, x: Array, training: bool) -> Array:
        """Apply the layers in order."""
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, dy: Array) -> Array:
        """Backpropagate through the layers in reverse order."""
        for layer in reversed(self.layers[self.first_trainable :]):
            dy = layer.backward(dy)
        return dy


class Residual(Sequential):
    """Residual block y = x + layers(x) (He et al., 2015, arXiv:1512.03385).

    While the layers contribute little, a deep network behaves like a shallow one.
    """

    def build(self, input_shape: Shape, dtype: type[np.floating]) -> Shape:
        """Build the layers, and check that they preserve the shape of their input."""
        output_shape = super().build(input_shape, dtype)
        if output_shape != input_shape:
            raise UserError(
                f"its layers turn shape {input_shape} into {output_shape}; "
                "a residual block must preserve the shape."
            )
        return input_shape

    def forward(self, x: Array, training: bool) -> Array:
        """Return x + layers(x)."""
        y = self.get_buffer("y", len(x), self.input_shape)
        np.add(x, super().forward(x, training), out=y)
        return y

    def backward(self, dy: Array) -> Array:
        """Return dy + (gradient of the layers with respect to x)."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        np.add(dy, super().backward(dy), out=dx)
        return dx


def _number_layers(layers: Iterable[Layer]) -> list[str]:
    """Return unique names, numbered per layer type: dense1, relu1, dense2."""
    counts: Counter[str] = Counter()
    names = []
    for layer in layers:
        counts[layer.type_name] += 1
        names.append(f"{layer.type_name}{counts[layer.type_name]}")
    return names
