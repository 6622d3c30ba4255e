"""All that a training is at the end of an epoch: what it takes to go on as if nothing had been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.errors import UserError
from nn.early_stopping import WeightSelector
from nn.network import Network
from nn.optimizers import Optimizer
from nn.randomness import RandomGenerators
from nn.schedules import Schedule
from nn.types import Array


class StateMismatchError(UserError):
    """A state of another model, or of none."""


@dataclass
class Snapshot:
    """A state that stays as it was: arrays by name, and plain facts."""

    arrays: dict[str, NDArray[Any]]
    metadata: dict[str, Any]


class TrainingState:
    """Copies the state of a training at the end of each epoch, and puts it back."""

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        schedule: Schedule,
        weight_selector: WeightSelector,
        rngs: RandomGenerators,
    ) -> None:
        self.optimizer, self.schedule, self.weight_selector = optimizer, schedule, weight_selector
        self.rngs = rngs
        self.live_arrays = {
            **{f"weights/{name}": array for name, array in network.named_arrays.items()},
            **{f"optimizer/{name}": array for name, array in optimizer.state.items()},
            **{f"best/{name}": array for name, array in weight_selector.best_arrays.items()},
        }
        self.snapshot = Snapshot({name: array.copy() for name, array in self.live_arrays.items()}, {})
        self.take_snapshot(0, 0.0, {})

    def take_snapshot(self, epoch: int, elapsed_seconds: float, history_fingerprint: Mapping[str, Any]) -> None:
        """Copy everything as it is at the end of this epoch, and note how it came about."""
        for name, array in self.live_arrays.items():
            np.copyto(self.snapshot.arrays[name], array)
        self.snapshot.metadata = {
            "epoch": epoch,
            "elapsed_seconds": elapsed_seconds,
            "history": dict(history_fingerprint),
            "optimizer_steps": self.optimizer.num_steps,
            "schedule": dict(self.schedule.state),
            "weight_selector": self.weight_selector.state_dict,
            "rngs": self.rngs.state_dict,
        }

    @property
    def epoch(self) -> int:
        """The epoch at whose end this was."""
        epoch: int = self.snapshot.metadata["epoch"]
        return epoch

    @property
    def elapsed_seconds(self) -> float:
        """The seconds of training until then."""
        seconds: float = self.snapshot.metadata["elapsed_seconds"]
        return seconds

    @property
    def best_snapshot(self) -> Snapshot | None:
        """The weights of the best epoch, where these are kept."""
        best_epoch = self.snapshot.metadata["weight_selector"]["best"]
        if not best_epoch or not self.weight_selector.restore_best:
            return None
        arrays = {
            name.replace("best/", "weights/"): array
            for name, array in self.snapshot.arrays.items()
            if name.startswith("best/")
        }
        return Snapshot(arrays, {"epoch": best_epoch["number"]})

    def restore(self, snapshot: Snapshot | None = None) -> None:
        """Become what was kept last, or what was read from elsewhere."""
        snapshot = snapshot or self.snapshot
        copy_arrays(snapshot.arrays, self.live_arrays)
        try:
            self.optimizer.num_steps = snapshot.metadata["optimizer_steps"]
            self.schedule.state.update(snapshot.metadata["schedule"])
            self.weight_selector.load_state_dict(snapshot.metadata["weight_selector"])
            self.rngs.load_state_dict(snapshot.metadata["rngs"])
            epoch = index(snapshot.metadata["epoch"])
            elapsed_seconds = float(snapshot.metadata["elapsed_seconds"])
            self.take_snapshot(epoch, elapsed_seconds, snapshot.metadata["history"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise StateMismatchError("its facts are not those of a training.") from None


def copy_arrays(source: Mapping[str, Array], target: Mapping[str, Array]) -> None:
    """Copy arrays into others of the same names, shapes and types, or refuse them all."""
    for name in sorted(source.keys() ^ target.keys()):
        location = "in that model, not in this" if name in source else "in this model, not in that"
        raise StateMismatchError(f"{name} is {location}.")
    for name, array in target.items():
        saved = source[name]
        if (saved.shape, saved.dtype) != (array.shape, array.dtype):
            raise StateMismatchError(
                f"its {name} is {saved.dtype} of shape {saved.shape}, and this model's "
                f"{array.dtype} of shape {array.shape}."
            )
    for name, array in target.items():
        np.copyto(array, source[name])
