"""Convolutional network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from nn.errors import require
from nn.layers import AvgPool2D, Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D
from nn.models.base import (
    ACTIVATIONS,
    ActivationName,
    InitializerName,
    NormalizationName,
    normalization_layers,
    resolve_initializer,
)
from nn.randomness import RandomGenerators
from nn.types import Fraction, OneOf, PositiveInt, check_settings

POOLING = {"max": MaxPool2D, "average": AvgPool2D}


@dataclass(frozen=True, kw_only=True)
class CNN:
    """Blocks of convolution, normalization, activation and pooling, then two dense layers.

    The numbers of channels are `channels`, or 16 in the first of `depth` blocks and doubled in
    each further one. The hidden dense layer has `width` units; dropout applies before each dense
    layer.
    """

    channels: list[PositiveInt] | None = None
    depth: PositiveInt | None = 2
    width: PositiveInt | None = 128
    dropout: Fraction | None = 0.0
    kernel_size: int = 3
    pooling: Annotated[str, OneOf(*POOLING)] = "max"
    activation: ActivationName = "relu"
    normalization: NormalizationName = "batch"
    initializer: InitializerName = "auto"

    def __post_init__(self) -> None:
        check_settings(self)
        require(self.channels != [], "channels", [], "a list of at least one number")
        require(bool(self.channels or self.depth), "depth", None, "at least 1")
        require(self.width is not None, "width", None, "at least 1")
        require(self.dropout is not None, "dropout", None, "at least 0 and below 1")
        is_odd = self.kernel_size >= 1 and self.kernel_size % 2 == 1
        require(is_odd, "kernel_size", self.kernel_size, "odd and at least 1")

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
