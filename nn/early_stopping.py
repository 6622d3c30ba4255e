"""Which weights of a training are kept: the last epoch's, or the best by validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.network import Network
from nn.training import Epoch
from nn.types import Array


class KeptWeights:
    """Follows a training, and gives the network the weights to be kept at its end."""

    def __init__(self, network: Network, keep_best: bool, patience: int | None) -> None:
        self.network = network
        self.keep_best, self.patience = keep_best, patience
        self.best: Epoch | None = None
        self.epoch: Epoch | None = None
        self.lowest_loss, self.highest_accuracy = math.inf, -math.inf
        self.arrays: dict[str, Array] = {}
        if keep_best:
            self.arrays = {name: array.copy() for name, array in network.arrays.items()}

    def see(self, epoch: Epoch) -> None:
        """Take note of an epoch, and of its weights if they are the ones to keep."""
        improved = epoch.val is not None and (self.best is None or epoch.rank < self.best.rank)
        if epoch.val:
            self.lowest_loss = min(self.lowest_loss, epoch.val.loss)
            self.highest_accuracy = max(self.highest_accuracy, epoch.val.accuracy)
        if improved:
            self.best = epoch
        if improved or not self.keep_best:
            self.epoch = epoch
        if improved:
            for name, kept in self.arrays.items():
                np.copyto(kept, self.network.arrays[name])

    def exhausted(self, epoch: int) -> bool:
        """Whether there was no better epoch for longer than patience allows."""
        if self.patience is None or self.best is None:
            return False
        return epoch - self.best.number >= self.patience

    def restore(self) -> None:
        """Put the kept weights into the network."""
        if self.best:
            for name, kept in self.arrays.items():
                np.copyto(self.network.arrays[name], kept)

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the epochs, as plain values."""
        return {
            "best": self.best and self.best.plain(),
            "epoch": self.epoch and self.epoch.plain(),
            "lowest_loss": self.lowest_loss if self.best else None,
            "highest_accuracy": self.highest_accuracy if self.best else None,
        }

    def put_back(self, facts: Mapping[str, Any]) -> None:
        """Know of the epochs what was known then."""
        self.best, self.epoch = (
            facts[name] and Epoch.from_plain(facts[name]) for name in ("best", "epoch")
        )
        if self.best:
            self.lowest_loss = float(facts["lowest_loss"])
            self.highest_accuracy = float(facts["highest_accuracy"])
