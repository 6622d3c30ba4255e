"""Layers in a row, which are a layer again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nn.errors import Mistake
from nn.layers.layer import Layer
from nn.types import Array, Shape


class Chain(Layer):
    """Each layer's outputs are the next one's inputs."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = list(layers)
        self.names = _numbered(self.layers)
        self.state = {}

    def connect(self, shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Connect the layers one to the next."""
        super().connect(shape, dtype)
        for name, layer in zip(self.names, self.layers, strict=True):
            try:
                shape = layer.connect(shape, dtype)
            except Mistake as mistake:
                raise Mistake(f"Layer {name}: {mistake}") from None
            layer.output_shape = shape
            self.state |= {f"{name}.{part}": array for part, array in layer.state.items()}
        return shape

    @property
    def parameter_shapes(self) -> Mapping[str, Shape]:
        """The parameters of all layers, by the layer's name."""
        return {
            f"{name}.{part}": shape
            for name, layer in zip(self.names, self.layers, strict=True)
            for part, shape in layer.parameter_shapes.items()
        }

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Give each layer its views."""
        for name, layer in zip(self.names, self.layers, strict=True):
            parts = layer.parameter_shapes
            layer.bind(
                {part: values[f"{name}.{part}"] for part in parts},
                {part: gradients[f"{name}.{part}"] for part in parts},
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


class Residual(Chain):
    """y = x + chain(x), which lets a deep network begin as a shallow one (arXiv:1512.03385)."""

    def connect(self, shape: Shape, dtype: type[np.floating[Any]]) -> Shape:
        """Refuse layers whose outputs cannot be added to their inputs."""
        given = super().connect(shape, dtype)
        if given != shape:
            raise Mistake(f"its layers make {given} of {shape}, which cannot be added to it.")
        return shape

    def forward(self, x: Array, training: bool) -> Array:
        """The inputs are added at the end."""
        y = self.buffer("y", len(x), self.shape)
        np.add(x, super().forward(x, training), out=y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy goes both ways."""
        dx = self.buffer("dx", len(dy), self.shape)
        np.add(dy, super().backward(dy), out=dx)
        return dx


def _numbered(layers: Iterable[Layer]) -> list[str]:
    """Number the layers of each kind: dense1, relu1, dense2."""
    seen: Counter[str] = Counter()
    names = []
    for layer in layers:
        seen[layer.kind] += 1
        names.append(f"{layer.kind}{seen[layer.kind]}")
    return names
