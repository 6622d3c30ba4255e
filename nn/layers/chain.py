"""Layers in a row, which are a layer again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nn.errors import UserError
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Sequential(Layer):
    """Each layer's outputs are the next one's inputs."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = list(layers)
        self.layer_names = _number_layers(self.layers)
        self.state = {}

    def build(self, shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Connect the layers one to the next."""
        super().build(shape, dtype)
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
        """The parameters of all layers, by the layer's name."""
        return {
            f"{name}.{key}": shape
            for name, layer in zip(self.layer_names, self.layers, strict=True)
            for key, shape in layer.parameter_shapes.items()
        }

    def bind_parameters(
        self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]
    ) -> None:
        """Give each layer its views."""
        for name, layer in zip(self.layer_names, self.layers, strict=True):
            keys = layer.parameter_shapes
            layer.bind_parameters(
                {key: parameters[f"{name}.{key}"] for key in keys},
                {key: gradients[f"{name}.{key}"] for key in keys},
            )

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the layers' parameters in their order."""
        for layer in self.layers:
            layer.initialize(rng)

    def forward(self, x: Array, training: bool) -> Array:
        """Up through the layers."""
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, dy: Array) -> Array:
        """Down through the layers."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


class Residual(Sequential):
    """y = x + chain(x), which lets a deep network begin as a shallow one (arXiv:1512.03385)."""

    def build(self, input_shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Refuse layers whose outputs cannot be added to their inputs."""
        output_shape = super().build(input_shape, dtype)
        if output_shape != input_shape:
            raise UserError(
                f"its layers make {output_shape} of {input_shape}, which cannot be added to it."
            )
        return input_shape

    def forward(self, x: Array, training: bool) -> Array:
        """The inputs are added at the end."""
        y = self.get_buffer("y", len(x), self.input_shape)
        np.add(x, super().forward(x, training), out=y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy goes both ways."""
        dx = self.get_buffer("dx", len(dy), self.input_shape)
        np.add(dy, super().backward(dy), out=dx)
        return dx


def _number_layers(layers: Iterable[Layer]) -> list[str]:
    """Number the layers of each kind: dense1, relu1, dense2."""
    counts: Counter[str] = Counter()
    names = []
    for layer in layers:
        counts[layer.type_name] += 1
        names.append(f"{layer.type_name}{counts[layer.type_name]}")
    return names
