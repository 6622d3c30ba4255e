"""Which weights of a training are kept: the last epoch's, or the best by validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.network import Network
from nn.training import EpochResult
from nn.types import Array


class WeightSelector:
    """Follows a training, and gives the network the weights to be kept at its end."""

    def __init__(self, network: Network, restore_best: bool, patience: int | None) -> None:
        self.network = network
        self.restore_best, self.patience = restore_best, patience
        self.best_epoch: EpochResult | None = None
        self.selected_epoch: EpochResult | None = None
        self.lowest_val_loss, self.highest_val_accuracy = math.inf, -math.inf
        self.best_arrays: dict[str, Array] = {}
        if restore_best:
            self.best_arrays = {name: array.copy() for name, array in network.named_arrays.items()}

    def update(self, result: EpochResult) -> None:
        """Take note of an epoch, and of its weights if they are the ones to keep."""
        is_improved = result.val is not None and (
            self.best_epoch is None or result.sort_key < self.best_epoch.sort_key
        )
        if result.val:
            self.lowest_val_loss = min(self.lowest_val_loss, result.val.loss)
            self.highest_val_accuracy = max(self.highest_val_accuracy, result.val.accuracy)
        if is_improved:
            self.best_epoch = result
        if is_improved or not self.restore_best:
            self.selected_epoch = result
        if is_improved:
            for name, best_array in self.best_arrays.items():
                np.copyto(best_array, self.network.named_arrays[name])

    def should_stop(self, epoch: int) -> bool:
        """Whether there was no better epoch for longer than patience allows."""
        if self.patience is None or self.best_epoch is None:
            return False
        return epoch - self.best_epoch.number >= self.patience

    def restore_weights(self) -> None:
        """Put the kept weights into the network."""
        if self.best_epoch:
            for name, best_array in self.best_arrays.items():
                np.copyto(self.network.named_arrays[name], best_array)

    @property
    def state_dict(self) -> dict[str, Any]:
        """What is known of the epochs, as plain values."""
        return {
            "best": self.best_epoch and self.best_epoch.to_dict(),
            "epoch": self.selected_epoch and self.selected_epoch.to_dict(),
            "lowest_loss": self.lowest_val_loss if self.best_epoch else None,
            "highest_accuracy": self.highest_val_accuracy if self.best_epoch else None,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Know of the epochs what was known then."""
        self.best_epoch, self.selected_epoch = (
            state_dict[name] and EpochResult.from_dict(state_dict[name])
            for name in ("best", "epoch")
        )
        if self.best_epoch:
            self.lowest_val_loss = float(state_dict["lowest_loss"])
            self.highest_val_accuracy = float(state_dict["highest_accuracy"])
