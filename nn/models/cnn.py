"""Convolutional network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nn.errors import require
from nn.layers import AvgPool2D, Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D
from nn.models.base import (
    ACTIVATIONS,
    check_component_names,
    normalization_layers,
    resolve_initializer,
)
from nn.randomness import RandomGenerators

POOLING = {"max": MaxPool2D, "average": AvgPool2D}


@dataclass(frozen=True, kw_only=True)
class CNN:
    """Blocks of convolution, normalization, activation and pooling, then two dense layers.

    The numbers of channels are `channels`, or 16 in the first of `depth` blocks and doubled in
    each further one. The hidden dense layer has `width` units; dropout applies before each dense
    layer.
    """

    channels: list[int] | None = None
    depth: int | None = 2
    width: int | None = 128
    dropout: float | None = 0.0
    kernel_size: int = 3
    pooling: str = "max"
    activation: str = "relu"
    normalization: str = "batch"
    initializer: str = "auto"

    def __post_init__(self) -> None:
        if self.channels is None:
            depth = self.depth
            require(depth is not None and depth >= 1, "depth", depth, "at least 1")
        require(
            min(self.block_channels, default=0) >= 1,
            "channels",
            self.channels,
            "a list of positives",
        )
        require(self.width is not None and self.width >= 1, "width", self.width, "at least 1")
        rate = self.dropout
        require(rate is not None and 0 <= rate < 1, "dropout", rate, "at least 0 and below 1")
        require(
            self.kernel_size >= 1 and self.kernel_size % 2 == 1,
            "kernel_size",
            self.kernel_size,
            "odd and at least 1",
        )
        require(self.pooling in POOLING, "pooling", self.pooling, "one of " + ", ".join(POOLING))
        check_component_names(self.activation, self.normalization, self.initializer)

    @property
    def block_channels(self) -> list[int]:
        """Number of channels of each block."""
        if self.channels is not None:
            return self.channels
        return [16 * 2**block for block in range(self.depth or 0)]

    def build_layers(self, num_classes: int, rngs: RandomGenerators) -> list[Layer]:
        """Return new layers, for images of any size."""
        assert self.width is not None
        initializer = resolve_initializer(self.initializer, self.activation)

        def activation_block(*pool: Layer) -> list[Layer]:
            parts = [ACTIVATIONS[self.activation](), *pool]
            # max pooling commutes with a monotonic activation, which then costs a quarter
            is_monotonic = self.pooling == "max" and self.activation not in ("gelu", "silu")
            return [
                *normalization_layers(self.normalization),
                *(parts[::-1] if is_monotonic else parts),
            ]

        layers: list[Layer] = []
        for channels in self.block_channels:
            padding = self.kernel_size // 2
            layers += [
                Conv2D(channels, self.kernel_size, padding=padding, initializer=initializer),
                *activation_block(POOLING[self.pooling]()),
            ]
        if self.dropout:
            layers.append(Dropout(self.dropout, rngs.dropout))
        layers += [Flatten(), Dense(self.width, initializer), *activation_block()]
        if self.dropout:
            layers.append(Dropout(self.dropout, rngs.dropout))
        return [
            *layers,
            Dense(num_classes, resolve_initializer(self.initializer, None), column_major=True),
        ]

    @staticmethod
    def inactive_settings(settings: Mapping[str, Any]) -> dict[str, str]:
        """Return the settings that have no effect, each with the setting that overrides it."""
        return {"depth": "channels"} if settings.get("channels") is not None else {}
