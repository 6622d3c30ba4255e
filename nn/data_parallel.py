"""Data parallelism: each training batch is computed in shards, by replicas of the layers."""

from __future__ import annotations

import math

import numpy as np

from nn.layers import Sequential
from nn.parameters import Parameters
from nn.shards import Shard, ShardGroup
from nn.types import Array

MAX_AUTO_SHARDS = 8
MIN_SHARD_SAMPLES = 64
"""Samples per shard below which matrix products become much slower per sample."""
MIN_SHARD_MULTIPLY_ADDS = 2**25
"""Multiplications of a shard's forward pass below which threads are not worth their overhead."""


class DataParallel:
    """One replica of the layers per shard, with the same parameters but gradients of its own."""

    def __init__(self, layers: Sequential, parameters: Parameters, group: ShardGroup) -> None:
        self.layers, self.group = layers, group
        self.replicas = [layers.replicate(shard) for shard in group.shards]
        # the first replica writes into the vector to which the gradients of the others are added
        self.gradients = [parameters.gradients]
        self.gradients += [np.zeros_like(parameters.gradients) for _ in group.shards[1:]]
        values = parameters.named_views(parameters.values)
        for replica, gradients in zip(self.replicas, self.gradients, strict=True):
            replica.bind_parameters(values, parameters.named_views(gradients))

    def forward(self, x: Array) -> Array:
        """Compute the outputs of a training batch, one replica per shard."""
        outputs = np.empty((len(x), *self.layers.layers[-1].output_shape), x.dtype, "F")

        def forward_shard(shard: Shard) -> None:
            replica = self.replicas[shard.index]
            outputs[shard.rows] = replica.forward(x[shard.rows], training=True)

        self.layers.draw_masks(len(x))
        self.group.split(len(x))
        self.group.run(forward_shard)
        return outputs

    def backward(self, dy: Array) -> None:
        """Compute the parameter gradients of the shards, and sum them in a fixed order."""
        total, *others = self.gradients[: len(dy)]

        def backward_shard(shard: Shard) -> None:
            self.replicas[shard.index].backward(dy[shard.rows])
            shard.wait_for_all()
            elements = shard.part_of(len(total))
            for gradients in others:
                total[elements] += gradients[elements]

        self.group.run(backward_shard)


def auto_shards(layers: Sequential, batch_size: int) -> int:
    """Choose a number of shards by the shapes alone, so that it is the same on every machine.

    It is a power of two, which usual numbers of threads divide.
    """
    multiply_adds = batch_size * sum(
        math.prod(shape) * math.prod(layer.output_shape[1:])  # once per pixel of a convolution
        for layer in layers.layers
        for name, shape in layer.parameter_shapes.items()
        if name.endswith("weight")
    )
    worthwhile = min(batch_size // MIN_SHARD_SAMPLES, multiply_adds // MIN_SHARD_MULTIPLY_ADDS)
    num_shards = 1
    while 2 * num_shards <= min(worthwhile, MAX_AUTO_SHARDS):
        num_shards *= 2
    return num_shards
