"""The architectures that a configuration can choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nn.errors import SettingError, require
from nn.layers import Dense, Dropout, Flatten, Layer, ReLU
from nn.randomness import Randomness


@dataclass(frozen=True)
class MLP:
    """Dense layers with ReLU between them.

    The hidden layers are `hidden` as it stands, or `depth` of them: the first `width` wide, each
    further one `taper` times the one before (2, 128 and 0.5 give 128, 64).
    """

    hidden: list[int] | None = None
    depth: int | None = 2
    width: int | None = 128
    taper: float | None = 0.5
    dropout: float | None = 0.0

    def __post_init__(self) -> None:
        if self.hidden is None:
            depth, width, taper = self.depth, self.width, self.taper
            require(depth is not None and depth >= 0, "depth", depth, "at least 0")
            if depth:
                require(width is not None and width >= 1, "width", width, "at least 1")
                require(taper is not None and 0 < taper <= 1, "taper", taper, "above 0, at most 1")
        require(min(self.units, default=1) >= 1, "hidden", self.hidden, "a list of positive sizes")
        if self.units:
            rate = self.dropout
            require(rate is not None and 0 <= rate < 1, "dropout", rate, "at least 0 and below 1")

    @property
    def units(self) -> list[int]:
        """The width of each hidden layer."""
        if self.hidden is not None:
            return self.hidden
        if not self.depth:
            return []
        assert self.width is not None
        assert self.taper is not None
        units = [round(self.width * self.taper**layer) for layer in range(self.depth)]
        if 0 in units:
            raise SettingError(
                "taper",
                self.taper,
                f"large enough to leave each layer a unit: with depth={self.depth} and "
                f"width={self.width} there is none in hidden layer {units.index(0) + 1}",
            )
        return units

    def layers(self, classes: int, randomness: Randomness) -> list[Layer]:
        """A fresh network's layers, for samples of any shape."""
        layers: list[Layer] = [Flatten()]
        for units in self.units:
            layers += [Dense(units), ReLU()]
            if self.dropout:
                layers.append(Dropout(self.dropout, randomness.dropout))
        return [*layers, Dense(classes, by_column=True)]

    @staticmethod
    def without_effect(settings: Mapping[str, Any]) -> dict[str, str]:
        """Name the settings that others make idle, each with the one that does."""
        if settings.get("hidden") is not None:
            idle = dict.fromkeys(("depth", "width", "taper"), "hidden")
            return idle if settings["hidden"] else {**idle, "dropout": "hidden"}
        if settings.get("depth") == 0:
            return dict.fromkeys(("width", "taper", "dropout"), "depth")
        return {}


@dataclass(frozen=True)
class Linear:
    """One dense layer and nothing else: softmax regression."""

    def layers(self, classes: int, randomness: Randomness) -> list[Layer]:
        """A fresh network's layers, for samples of any shape."""
        return [Flatten(), Dense(classes, by_column=True)]
