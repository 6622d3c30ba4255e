"""Learning rate schedules: the factor on the base learning rate at each step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from nn.errors import require


@dataclass(frozen=True)
class Progress:
    """Position in a training run; steps count from 0."""

    step: int
    total_steps: int
    steps_per_epoch: int

    @property
    def fractional_epoch(self) -> float:
        """Number of epochs completed so far, including the fraction of the current one."""
        return self.step / self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """Fraction of the run: 0 at the first step, 1 at the last."""
        return self.step / max(1, self.total_steps - 1)


class Schedule(ABC):
    """Base class of schedules, with a linear warm-up over the first `warmup` epochs."""

    needs_validation = False
    """Whether the schedule depends on the validation loss."""

    def __init__(self, warmup: float = 0.0) -> None:
        require(warmup >= 0, "warmup", warmup, "at least 0")
        self.warmup = warmup
        self.state: dict[str, Any] = {}
        """JSON-serializable values that change from epoch to epoch; stored in checkpoints."""

    def __call__(self, progress: Progress) -> float:
        """Return the factor at a step, which depends only on the step and on `state`."""
        warmup_steps = self.warmup * progress.steps_per_epoch
        warmup_factor = min(1.0, (progress.step + 1) / warmup_steps) if warmup_steps else 1.0
        return warmup_factor * self.factor_at(progress)

    @abstractmethod
    def factor_at(self, progress: Progress) -> float:
        """Return the factor at a step, without the warm-up."""

    def update(self, val_loss: float) -> None:  # noqa: B027  (optional hook)
        """Record the validation loss of an epoch."""


class Constant(Schedule):
    """A constant learning rate."""

    def factor_at(self, progress: Progress) -> float:
        """Return 1."""
        return 1.0


class Step(Schedule):
    """Step decay: a factor of gamma at regular intervals of epochs."""

    def __init__(self, every: int = 5, gamma: float = 0.5, warmup: float = 0.0) -> None:
        super().__init__(warmup)
        require(every >= 1, "every", every, "at least 1")
        require(0 < gamma <= 1, "gamma", gamma, "above 0 and at most 1")
        self.every, self.gamma = every, gamma

    def factor_at(self, progress: Progress) -> float:
        """Return gamma^floor(epochs / every)."""
        return self.gamma ** (progress.step // (self.every * progress.steps_per_epoch))


class Exponential(Schedule):
    """Exponential decay: a factor of gamma per epoch, spread evenly over its steps."""

    def __init__(self, gamma: float = 0.95, warmup: float = 0.0) -> None:
        super().__init__(warmup)
        require(0 < gamma <= 1, "gamma", gamma, "above 0 and at most 1")
        self.gamma = gamma

    def factor_at(self, progress: Progress) -> float:
        """Return gamma^epochs."""
        return float(self.gamma**progress.fractional_epoch)


class InverseTime(Schedule):
    """Inverse time decay, as in Keras."""

    def __init__(self, decay: float = 0.1, warmup: float = 0.0) -> None:
        super().__init__(warmup)
        require(decay >= 0, "decay", decay, "at least 0")
        self.decay = decay

    def factor_at(self, progress: Progress) -> float:
        """Return 1 / (1 + decay * epochs)."""
        return 1 / (1 + self.decay * progress.fractional_epoch)


class Cosine(Schedule):
    """Cosine annealing from 1 to `final` (Loshchilov and Hutter, 2016, arXiv:1608.03983)."""

    def __init__(self, final: float = 0.0, warmup: float = 0.0) -> None:
        super().__init__(warmup)
        require(0 <= final <= 1, "final", final, "from 0 to 1")
        self.final = final

    def factor_at(self, progress: Progress) -> float:
        """Return final + (1 - final) * (1 + cos(pi * fraction)) / 2."""
        return _anneal_cosine(1, self.final, progress.fraction)


class OneCycle(Schedule):
    """One-cycle policy: cosine from 1 / start up to 1, then down to 1 / (start * end).

    Smith and Topin, 2017, arXiv:1708.07120; the formula is PyTorch's.
    """

    def __init__(
        self,
        rise: float = 0.3,
        start: float = 25.0,
        end: float = 1e4,
        warmup: float = 0.0,
    ) -> None:
        super().__init__(warmup)
        require(0 < rise < 1, "rise", rise, "above 0 and below 1")
        require(start >= 1, "start", start, "at least 1")
        require(end >= 1, "end", end, "at least 1")
        self.rise, self.start, self.end = rise, start, end

    def factor_at(self, progress: Progress) -> float:
        """Return the factor, whose peak of 1 is at the fraction `rise` of the steps."""
        peak_step = self.rise * progress.total_steps - 1
        last_step = progress.total_steps - 1
        if progress.step <= peak_step:
            return _anneal_cosine(
                1 / self.start, 1, progress.step / peak_step if peak_step > 0 else 1
            )
        fraction = (
            (progress.step - peak_step) / (last_step - peak_step) if last_step > peak_step else 1
        )
        return _anneal_cosine(1, 1 / (self.start * self.end), fraction)


class ReduceOnPlateau(Schedule):
    """Reduction by gamma after more than `patience` epochs without a lower validation loss."""

    needs_validation = True

    def __init__(
        self, gamma: float = 0.5, patience: int = 3, warmup: float = 0.0, least: float = 1e-3
    ) -> None:
        super().__init__(warmup)
        require(0 < gamma < 1, "gamma", gamma, "above 0 and below 1")
        require(patience >= 0, "patience", patience, "at least 0")
        require(0 <= least <= 1, "least", least, "from 0 to 1")
        self.gamma, self.patience, self.least = gamma, patience, least
        self.state = {"best": None, "bad": 0, "reductions": 0}

    def factor_at(self, progress: Progress) -> float:
        """Return gamma^reductions, but at least `least`."""
        return max(self.least, float(self.gamma ** self.state["reductions"]))

    def update(self, val_loss: float) -> None:
        """Count the epochs without improvement, and reduce after more than `patience` of them."""
        state = self.state
        if state["best"] is None or val_loss < state["best"]:
            state["best"], state["bad"] = val_loss, 0
        else:
            state["bad"] += 1
        if state["bad"] > self.patience:
            state["bad"], state["reductions"] = 0, state["reductions"] + 1


def _anneal_cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
