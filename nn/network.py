"""A network: layers in a row, with all their parameters in one vector."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from nn.errors import UserError
from nn.layers import Layer, Sequential
from nn.parameters import Parameters
from nn.types import Array, Shape


class Network:
    """Connects layers for samples of one shape, and runs them forward and backward."""

    def __init__(
        self,
        layers: Iterable[Layer],
        input_shape: Shape,
        rng: np.random.Generator,
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        self.input_shape = input_shape
        self.sequential = Sequential(layers)
        self.output_shape = self.sequential.build(input_shape, dtype)
        self.parameters = Parameters(self.sequential.parameter_shapes, dtype)
        self.sequential.bind_parameters(
            self.parameters.named_views(self.parameters.values),
            self.parameters.named_views(self.parameters.gradients),
        )
        self.sequential.initialize(rng)
        self.named_arrays = {**self.parameters.named_views(self.parameters.values), **self.state}
        """Everything that training changes, by name: parameters and running figures."""
        self._backward_layers = self._select_backward_layers()

    @property
    def layers(self) -> list[Layer]:
        """The layers in their order."""
        return self.sequential.layers

    @property
    def state(self) -> dict[str, Array]:
        """What training changes beside the parameters: running figures, by name."""
        return self.sequential.state

    def forward(self, x: Array, training: bool = False) -> Array:
        """Compute the outputs of a batch; the array belongs to the last layer."""
        return self.sequential.forward(x, training)

    def backward(self, dy: Array) -> None:
        """Compute all gradients from the derivative of the loss by the outputs."""
        for layer in reversed(self._backward_layers):
            dy = layer.backward(dy)

    def describe(self) -> dict[str, Any]:
        """Give the shapes of a sample and of each layer's output, and the parameter counts."""
        layers = [
            {
                "name": name,
                "output_shape": [int(size) for size in layer.output_shape],
                "num_parameters": int(sum(map(math.prod, layer.parameter_shapes.values()))),
            }
            for name, layer in zip(self.sequential.layer_names, self.layers, strict=True)
        ]
        shape, num_parameters = list(self.input_shape), len(self.parameters)
        return {"input_shape": shape, "layers": layers, "num_parameters": num_parameters}

    def layer_table(self) -> str:
        """List the layers with their output shapes and parameter counts."""
        rows = [("layer", "output", "parameters"), ("", _format_shape(self.input_shape), "")]
        for layer in self.describe()["layers"]:
            count = layer["num_parameters"]
            rows.append(
                (layer["name"], _format_shape(layer["output_shape"]), f"{count:,}" if count else "")
            )
        rows.append(("", "", f"{len(self.parameters):,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            f"  {name:{widths[0]}}  {output:{widths[1]}}  {count:>{widths[2]}}"
            for name, output, count in rows
        )

    def digest(self) -> str:
        """The SHA-256 of the weights, and of the running figures where there are any."""
        digest = hashlib.sha256(self.parameters.values.tobytes())
        for name in sorted(self.state):
            digest.update(self.state[name].tobytes())
        return digest.hexdigest()

    def _select_backward_layers(self) -> list[Layer]:
        """Leave out the layers at the bottom for which no derivative is needed."""
        trainable = [i for i, layer in enumerate(self.layers) if layer.parameter_shapes]
        if not trainable:
            raise UserError("model: none of its layers has parameters to learn.")
        first_trainable = trainable[0]
        self.layers[first_trainable].needs_input_grad = False
        return self.layers[first_trainable:]


def _format_shape(shape: Shape) -> str:
    return " x ".join(map(str, shape))
