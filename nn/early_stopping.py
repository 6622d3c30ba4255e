"""Selection of the final weights (last or best validation epoch), and early stopping."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np

from nn.network import Network
from nn.training import EpochResult, EpochState
from nn.types import Array


class WeightSelectorState(TypedDict):
    """The best and the selected epoch, and the best scores, each of some epoch."""

    best: EpochState | None
    epoch: EpochState | None
    lowest_loss: float | None
    highest_accuracy: float | None


class WeightSelector:
    """Tracker of the best epoch of a training run, which can restore its weights at the end.

    With `restore_best`, the best weights are copied as they occur. `patience` is the number of
    epochs without improvement after which training should stop; None never stops it.
    """

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
        """Record an epoch, and copy its weights if it is the best so far and will be restored."""
        if result.val:
            self.lowest_val_loss = min(self.lowest_val_loss, result.val.loss)
            self.highest_val_accuracy = max(self.highest_val_accuracy, result.val.accuracy)
        is_best = result.val is not None and (
            self.best_epoch is None or result.sort_key < self.best_epoch.sort_key
        )
        if is_best or not self.restore_best:
            self.selected_epoch = result
        if is_best:
            self.best_epoch = result
            for name, best_array in self.best_arrays.items():
                np.copyto(best_array, self.network.named_arrays[name])

    def should_stop(self, epoch: int) -> bool:
        """Whether the last improvement is at least `patience` epochs ago."""
        if self.patience is None or self.best_epoch is None:
            return False
        return epoch - self.best_epoch.number >= self.patience

    def restore_weights(self) -> None:
        """Copy the best weights into the network; without `restore_best`, keep the last ones."""
        if self.best_epoch:
            for name, best_array in self.best_arrays.items():
                np.copyto(self.network.named_arrays[name], best_array)

    @property
    def state_dict(self) -> WeightSelectorState:
        """The state, of JSON types."""
        return {
            "best": self.best_epoch.to_dict() if self.best_epoch else None,
            "epoch": self.selected_epoch.to_dict() if self.selected_epoch else None,
            "lowest_loss": self.lowest_val_loss if self.best_epoch else None,
            "highest_accuracy": self.highest_val_accuracy if self.best_epoch else None,
        }

    def load_state_dict(self, state_dict: WeightSelectorState) -> None:
        """Restore from `state_dict`."""
        best, selected = state_dict["best"], state_dict["epoch"]
        self.best_epoch = EpochResult.from_dict(best) if best else None
        self.selected_epoch = EpochResult.from_dict(selected) if selected else None
        lowest_loss, highest_accuracy = state_dict["lowest_loss"], state_dict["highest_accuracy"]
        if lowest_loss is not None and highest_accuracy is not None:
            self.lowest_val_loss, self.highest_val_accuracy = lowest_loss, highest_accuracy
