"""Multilayer perceptron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from nn.errors import SettingError, require
from nn.layers import Dense, Dropout, Flatten, Layer, Residual
from nn.models.base import (
    ACTIVATIONS,
    ActivationName,
    InitializerName,
    NormalizationName,
    normalization_layers,
    resolve_initializer,
)
from nn.randomness import RandomGenerators
from nn.types import Fraction, NonNegativeInt, PositiveInt, Range, check_settings


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Hidden layers (dense, normalization, activation, dropout), then a dense output layer.

    The sizes of the hidden layers are `hidden`, or follow from `depth`, `width` and `taper`: the
    first has `width` units, each further one `taper` times as many as the one before (2, 128 and
    0.5 give 128, 64). With `residual`, a hidden layer of the same size as the one before gets a
    skip connection.
    """

    hidden: list[PositiveInt] | None = None
    depth: NonNegativeInt | None = 2
    width: PositiveInt | None = 128
    taper: Annotated[float, Range(gt=0, le=1)] | None = 0.5
    dropout: Fraction | None = 0.0
    activation: ActivationName = "relu"
    normalization: NormalizationName = "none"
    initializer: InitializerName = "auto"
    residual: bool = False

    def __post_init__(self) -> None:
        check_settings(self)
        if self.hidden is None:
            require(self.depth is not None, "depth", None, "at least 0")
            require(self.width is not None or not self.depth, "width", None, "at least 1")
            if self.depth and self.depth > 1:
                require(self.taper is not None, "taper", None, "above 0 and at most 1")
        if self.widths:
            require(self.dropout is not None, "dropout", None, "at least 0 and below 1")
        if self.residual and all(below != above for below, above in pairwise(self.widths)):
            expected = "false, or two hidden layers must be equally wide, as with model.taper=1"
            raise SettingError("residual", self.residual, expected)

    @property
    def widths(self) -> list[int]:
        """Number of units of each hidden layer."""
        if self.hidden is not None:
            return self.hidden
        if not self.depth:
            return []
        assert self.width is not None
        units = [round(self.width * (self.taper or 1) ** layer) for layer in range(self.depth)]
        if 0 in units:
            raise SettingError(
                "taper",
                self.taper,
                f"large enough to leave each layer a unit: with depth={self.depth} and "
                f"width={self.width} there is none in hidden layer {units.index(0) + 1}",
            )
        return units

    def build_layers(self, num_classes: int, rngs: RandomGenerators) -> list[Layer]:
        """Return new layers, for samples of any shape."""
        layers: list[Layer] = [Flatten()]
        previous_units = None
        for units in self.widths:
            block = self._build_block(units, rngs)
            if self.residual and units == previous_units:
                layers.append(Residual(block))
            else:
                layers += block
            previous_units = units
        return [
            *layers,
            Dense(num_classes, resolve_initializer(self.initializer, None), column_major=True),
        ]

    def _build_block(self, units: int, rngs: RandomGenerators) -> list[Layer]:
        block: list[Layer] = [Dense(units, resolve_initializer(self.initializer, self.activation))]
        block += [*normalization_layers(self.normalization), ACTIVATIONS[self.activation]()]
        return [*block, Dropout(self.dropout, rngs.dropout)] if self.dropout else block

    @staticmethod
    def inactive_settings(settings: Mapping[str, Any]) -> dict[str, str]:
        """Return the settings that have no effect, each with the setting that overrides it."""
        if settings.get("hidden") is not None:
            inactive = dict.fromkeys(("depth", "width", "taper"), "hidden")
            return inactive if settings["hidden"] else {**inactive, "dropout": "hidden"}
        if settings.get("depth") == 0:
            return dict.fromkeys(("width", "taper", "dropout"), "depth")
        return {"taper": "depth"} if settings.get("depth") == 1 else {}
