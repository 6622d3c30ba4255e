"""A feed-forward network whose parameters are views into one flat vector."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import TypedDict

import numpy as np

from nn.data_parallel import DataParallel
from nn.errors import UserError, format_shape
from nn.layers import Layer, Sequential
from nn.parameters import Parameters
from nn.shards import ShardGroup
from nn.types import Array, Shape


class LayerSummary(TypedDict):
    """Name, output shape and size of one layer."""

    name: str
    output_shape: list[int]
    num_parameters: int


class NetworkSummary(TypedDict):
    """Input shape, layers and size of a network, as model.json has them."""

    input_shape: list[int]
    layers: list[LayerSummary]
    num_parameters: int


class Network:
    """Layers built for one sample shape, with their parameters, gradients and state."""

    def __init__(
        self,
        layers: Iterable[Layer],
        input_shape: Shape,
        rng: np.random.Generator,
        dtype: type[np.floating] = np.float32,
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
        """All arrays that training updates, by name: parameters and layer state."""
        self._skip_untrained_layers()
        self.data_parallel: DataParallel | None = None

    @property
    def layers(self) -> list[Layer]:
        """Layers in forward order."""
        return self.sequential.layers

    @property
    def state(self) -> dict[str, Array]:
        """Non-trainable arrays that training updates, by name (running statistics)."""
        return self.sequential.state

    def split_batches(self, group: ShardGroup) -> None:
        """Compute training batches in shards from now on."""
        self.data_parallel = DataParallel(self.sequential, self.parameters, group)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Compute the outputs of a batch; the next call overwrites the returned array."""
        if training and self.data_parallel:
            return self.data_parallel.forward(x)
        return self.sequential.forward(x, training)

    def backward(self, dy: Array) -> None:
        """Compute all parameter gradients from the gradient with respect to the outputs."""
        (self.data_parallel or self.sequential).backward(dy)

    def describe(self) -> NetworkSummary:
        """Return the input shape, and the output shape and number of parameters of each layer."""
        layers: list[LayerSummary] = [
            {
                "name": name,
                "output_shape": [int(size) for size in layer.output_shape],
                "num_parameters": int(sum(map(math.prod, layer.parameter_shapes.values()))),
            }
            for name, layer in zip(self.sequential.layer_names, self.layers, strict=True)
        ]
        return {
            "input_shape": list(self.input_shape),
            "layers": layers,
            "num_parameters": len(self.parameters),
        }

    def layer_table(self) -> str:
        """Format the layers, their output shapes and parameter counts as a text table."""
        rows = [("layer", "output", "parameters"), ("", format_shape(self.input_shape), "")]
        for layer in self.describe()["layers"]:
            count = layer["num_parameters"]
            rows.append(
                (layer["name"], format_shape(layer["output_shape"]), f"{count:,}" if count else "")
            )
        rows.append(("", "", f"{len(self.parameters):,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            f"  {name:{widths[0]}}  {output:{widths[1]}}  {count:>{widths[2]}}"
            for name, output, count in rows
        )

    def digest(self) -> str:
        """Return the SHA-256 of the parameters and the layer state."""
        digest = hashlib.sha256(self.parameters.values.tobytes())
        for name in sorted(self.state):
            digest.update(self.state[name].tobytes())
        return digest.hexdigest()

    def _skip_untrained_layers(self) -> None:
        """End the backward pass at the first trainable layer; those below it need no gradients."""
        trainable = [i for i, layer in enumerate(self.layers) if layer.parameter_shapes]
        if not trainable:
            raise UserError("model: none of its layers has trainable parameters.")
        self.sequential.first_trainable = trainable[0]
        self.layers[trainable[0]].needs_input_grad = False
