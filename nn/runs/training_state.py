"""The training state at an epoch boundary, complete enough for a bit-exact resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from nn.early_stopping import WeightSelector, WeightSelectorState
from nn.errors import UserError
from nn.io.serialization import JsonObject
from nn.network import Network
from nn.optimizers import Optimizer
from nn.randomness import RandomGenerators, RngStates
from nn.runs.history import HistoryFingerprint
from nn.schedules import Schedule
from nn.types import Array


class StateMismatchError(UserError):
    """A snapshot that does not belong to this model."""


class SnapshotMetadata(TypedDict, total=False):
    """The metadata of a snapshot, of JSON types; a training state has nearly all of it."""

    epoch: int
    elapsed_seconds: float
    history: HistoryFingerprint
    optimizer_steps: int
    schedule: JsonObject
    weight_selector: WeightSelectorState
    rngs: RngStates
    dataset_sha256: str
    input_spec: JsonObject
    config: Mapping[str, JsonValue]
    sessions: list[list[str]]
    hidden: str
    """SHA-256 of the activations that a report's map of the samples belongs to."""


@dataclass
class Snapshot:
    """A frozen state: named arrays, and metadata of JSON types."""

    arrays: dict[str, NDArray[Any]]
    metadata: SnapshotMetadata


class TrainingState:
    """The live training state, copied at the end of each epoch and restored from such a copy."""

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
        self.snapshot = Snapshot(
            {name: array.copy() for name, array in self.live_arrays.items()}, {}
        )
        self.take_snapshot(0, 0.0, {"lines": 0, "sha256": ""})

    def take_snapshot(
        self, epoch: int, elapsed_seconds: float, history_fingerprint: HistoryFingerprint
    ) -> None:
        """Copy the live state at the end of an epoch into `snapshot`, in place."""
        for name, array in self.live_arrays.items():
            np.copyto(self.snapshot.arrays[name], array)
        self.snapshot.metadata = {
            "epoch": epoch,
            "elapsed_seconds": elapsed_seconds,
            "history": history_fingerprint,
            "optimizer_steps": self.optimizer.num_steps,
            "schedule": dict(self.schedule.state),
            "weight_selector": self.weight_selector.state_dict,
            "rngs": self.rngs.state_dict,
        }

    @property
    def epoch(self) -> int:
        """The number of the epoch that ended with the snapshot; 0 before the first."""
        return self.snapshot.metadata["epoch"]

    @property
    def elapsed_seconds(self) -> float:
        """The training time up to the snapshot, over all sessions."""
        return self.snapshot.metadata["elapsed_seconds"]

    @property
    def best_snapshot(self) -> Snapshot | None:
        """The weights of the best epoch, or None unless the run restores them at its end."""
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
        """Restore the live state from a snapshot, by default the latest one."""
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
            raise StateMismatchError("its metadata is not that of a training state.") from None


def copy_arrays(source: Mapping[str, Array], target: Mapping[str, Array]) -> None:
    """Copy arrays into others of the same names, shapes and dtypes.

    Raises:
        StateMismatchError: Some array does not match; nothing has been copied then.
    """
    for name in sorted(source.keys() ^ target.keys()):
        place = ("that model", "this one") if name in source else ("this model", "that one")
        raise StateMismatchError(f"{name} is in {place[0]} but not in {place[1]}.")
    for name, array in target.items():
        saved = source[name]
        if (saved.shape, saved.dtype) != (array.shape, array.dtype):
            raise StateMismatchError(
                f"its {name} is {saved.dtype} of shape {saved.shape}, but this model's is "
                f"{array.dtype} of shape {array.shape}."
            )
    for name, array in target.items():
        np.copyto(array, source[name])
