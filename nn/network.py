"""A network: layers in a row, with all their parameters in one vector."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from nn.layers import Layer
from nn.parameters import Parameters
from nn.types import Array, Shape


class Network:
    """Connects layers for samples of one shape, and runs them forward and backward."""

    def __init__(
        self,
        layers: Iterable[Layer],
        shape: Shape,
        rng: np.random.Generator,
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        self.layers = list(layers)
        self.input_shape = shape
        names = _names(self.layers)
        parameter_shapes = {}
        for name, layer in zip(names, self.layers, strict=True):
            shape = layer.connect(shape, dtype)
            for part, part_shape in layer.parameter_shapes.items():
                parameter_shapes[f"{name}.{part}"] = part_shape
        self.output_shape = shape
        lowest = next(i for i, layer in enumerate(self.layers) if layer.parameter_shapes)
        self.layers[lowest].propagates = False
        self._learning = self.layers[lowest:]

        self.parameters = Parameters(parameter_shapes, dtype)
        values = self.parameters.views(self.parameters.values)
        gradients = self.parameters.views(self.parameters.gradients)
        for name, layer in zip(names, self.layers, strict=True):
            own = {part: f"{name}.{part}" for part in layer.parameter_shapes}
            layer.bind(
                {part: values[full] for part, full in own.items()},
                {part: gradients[full] for part, full in own.items()},
            )
            layer.initialize(rng)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Compute the outputs of a batch; the array belongs to the last layer."""
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, dy: Array) -> None:
        """Compute all gradients from the derivative of the loss by the outputs."""
        for layer in reversed(self._learning):
            dy = layer.backward(dy)

    def digest(self) -> str:
        """The SHA-256 of the weights."""
        return hashlib.sha256(self.parameters.values.tobytes()).hexdigest()


def _names(layers: Iterable[Layer]) -> list[str]:
    """Number the layers of each kind: dense1, relu1, dense2."""
    seen: Counter[str] = Counter()
    names = []
    for layer in layers:
        seen[layer.kind] += 1
        names.append(f"{layer.kind}{seen[layer.kind]}")
    return names
