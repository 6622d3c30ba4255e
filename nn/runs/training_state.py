"""All that a training is at the end of an epoch: what it takes to go on as if nothing had been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.errors import Mistake
from nn.early_stopping import KeptWeights
from nn.network import Network
from nn.optimizers import Optimizer
from nn.randomness import Randomness
from nn.schedules import Schedule
from nn.types import Array


class UnlikeThis(Mistake):
    """A state of another model, or of none."""


@dataclass
class Moment:
    """A state that stays as it was: arrays by name, and plain facts."""

    arrays: dict[str, NDArray[Any]]
    facts: dict[str, Any]


class State:
    """Copies the state of a training at the end of each epoch, and puts it back."""

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        schedule: Schedule,
        kept: KeptWeights,
        randomness: Randomness,
    ) -> None:
        self.optimizer, self.schedule, self.kept = optimizer, schedule, kept
        self.randomness = randomness
        self.live = {
            **{f"weights/{name}": array for name, array in network.arrays.items()},
            **{f"optimizer/{name}": array for name, array in optimizer.state.items()},
            **{f"best/{name}": array for name, array in kept.arrays.items()},
        }
        self.moment = Moment({name: array.copy() for name, array in self.live.items()}, {})
        self.keep(0, 0.0, {})

    def keep(self, epoch: int, seconds: float, history: Mapping[str, Any]) -> None:
        """Copy everything as it is at the end of this epoch, and note how it came about."""
        for name, array in self.live.items():
            np.copyto(self.moment.arrays[name], array)
        self.moment.facts = {
            "epoch": epoch,
            "seconds": seconds,
            "history": dict(history),
            "steps": self.optimizer.steps,
            "schedule": dict(self.schedule.state),
            "kept": self.kept.facts,
            "randomness": self.randomness.states,
        }

    @property
    def epoch(self) -> int:
        """The epoch at whose end this was."""
        epoch: int = self.moment.facts["epoch"]
        return epoch

    @property
    def seconds(self) -> float:
        """The seconds of training until then."""
        seconds: float = self.moment.facts["seconds"]
        return seconds

    @property
    def best(self) -> Moment | None:
        """The weights of the best epoch, where these are kept."""
        best = self.moment.facts["kept"]["best"]
        if not best or not self.kept.keep_best:
            return None
        arrays = {
            name.replace("best/", "weights/"): array
            for name, array in self.moment.arrays.items()
            if name.startswith("best/")
        }
        return Moment(arrays, {"epoch": best["number"]})

    def put_back(self, moment: Moment | None = None) -> None:
        """Become what was kept last, or what was read from elsewhere."""
        moment = moment or self.moment
        fit_into(moment.arrays, self.live)
        try:
            self.optimizer.steps = moment.facts["steps"]
            self.schedule.state.update(moment.facts["schedule"])
            self.kept.put_back(moment.facts["kept"])
            self.randomness.put_back(moment.facts["randomness"])
            epoch, seconds = index(moment.facts["epoch"]), float(moment.facts["seconds"])
            self.keep(epoch, seconds, moment.facts["history"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UnlikeThis("its facts are not those of a training.") from None


def fit_into(arrays: Mapping[str, Array], live: Mapping[str, Array]) -> None:
    """Copy arrays into others of the same names, shapes and types, or refuse them all."""
    for name in sorted(arrays.keys() ^ live.keys()):
        where = "in that model, not in this" if name in arrays else "in this model, not in that"
        raise UnlikeThis(f"{name} is {where}.")
    for name, array in live.items():
        given = arrays[name]
        if (given.shape, given.dtype) != (array.shape, array.dtype):
            raise UnlikeThis(
                f"its {name} is {given.dtype} of shape {given.shape}, and this model's "
                f"{array.dtype} of shape {array.shape}."
            )
    for name, array in live.items():
        np.copyto(array, arrays[name])
