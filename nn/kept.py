"""Which weights of a training are kept: the last epoch's, or the best by validation."""

from __future__ import annotations

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
        self._weights = [array.copy() for array in self._arrays()]

    def see(self, epoch: Epoch) -> None:
        """Take note of an epoch, and of its weights if they are the ones to keep."""
        improved = epoch.val is not None and (self.best is None or epoch.rank < self.best.rank)
        if improved:
            self.best = epoch
        if improved or not self.keep_best:
            self.epoch = epoch
        if improved and self.keep_best:
            for kept, array in zip(self._weights, self._arrays(), strict=True):
                np.copyto(kept, array)

    def exhausted(self, epoch: Epoch) -> bool:
        """Whether there was no better epoch for longer than patience allows."""
        if self.patience is None or self.best is None:
            return False
        return epoch.number - self.best.number >= self.patience

    def restore(self) -> None:
        """Put the kept weights into the network."""
        if self.keep_best and self.best:
            for kept, array in zip(self._weights, self._arrays(), strict=True):
                np.copyto(array, kept)

    def _arrays(self) -> list[Array]:
        return [self.network.parameters.values, *self.network.state.values()]
