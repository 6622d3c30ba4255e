"""Learning rate schedules: the factor on the base learning rate at each step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from nn.types import NonNegative, NonNegativeInt, PositiveInt, Range, check_settings


class Progress(NamedTuple):
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


@dataclass(kw_only=True)
class Schedule(ABC):
    """Base class of schedules, with a linear warm-up over the first `warmup_epochs` epochs."""

    needs_validation = False
    """Whether the schedule depends on the validation loss."""

    warmup_epochs: NonNegative = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
        self.state: dict[str, Any] = {}
        """JSON-serializable values that change from epoch to epoch; stored in checkpoints."""

    def __call__(self, progress: Progress) -> float:
        """Return the factor at a step, which depends only on the step and on `state`."""
        warmup_steps = self.warmup_epochs * progress.steps_per_epoch
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


@dataclass(kw_only=True)
class Step(Schedule):
    """Step decay: a factor of gamma at regular intervals of epochs."""

    step_size: PositiveInt = 5
    gamma: Annotated[float, Range(gt=0, le=1)] = 0.5

    def factor_at(self, progress: Progress) -> float:
        """Return gamma^floor(epochs / step_size)."""
        return self.gamma ** (progress.step // (self.step_size * progress.steps_per_epoch))


@dataclass(kw_only=True)
class Exponential(Schedule):
    """Exponential decay: a factor of gamma per epoch, spread evenly over its steps."""

    gamma: Annotated[float, Range(gt=0, le=1)] = 0.95

    def factor_at(self, progress: Progress) -> float:
        """Return gamma^epochs."""
        return float(self.gamma**progress.fractional_epoch)


@dataclass(kw_only=True)
class InverseTime(Schedule):
    """Inverse time decay, as in Keras."""

    decay_rate: NonNegative = 0.1

    def factor_at(self, progress: Progress) -> float:
        """Return 1 / (1 + decay_rate * epochs)."""
        return 1 / (1 + self.decay_rate * progress.fractional_epoch)


@dataclass(kw_only=True)
class Cosine(Schedule):
    """Cosine annealing from 1 to `final_factor` (Loshchilov and Hutter, 2016, arXiv:1608.03983)."""

    final_factor: Annotated[float, Range(ge=0, le=1)] = 0.0

    def factor_at(self, progress: Progress) -> float:
        """Return f + (1 - f) * (1 + cos(pi * fraction)) / 2, f being `final_factor`."""
        return _anneal_cosine(1, self.final_factor, progress.fraction)


@dataclass(kw_only=True)
class OneCycle(Schedule):
    """One-cycle policy (Smith and Topin, 2017, arXiv:1708.07120); the formula is PyTorch's.

    Cosine from 1 / div_factor up to 1, then down to 1 / (div_factor * final_div_factor).
    """

    pct_start: Annotated[float, Range(gt=0, lt=1)] = 0.3
    div_factor: Annotated[float, Range(ge=1)] = 25.0
    final_div_factor: Annotated[float, Range(ge=1)] = 1e4

    def factor_at(self, progress: Progress) -> float:
        """Return the factor, whose peak of 1 is at the fraction `pct_start` of the steps."""
        peak_step = self.pct_start * progress.total_steps - 1
        last_step = progress.total_steps - 1
        if progress.step <= peak_step:
            return _anneal_cosine(
                1 / self.div_factor, 1, progress.step / peak_step if peak_step > 0 else 1
            )
        fraction = (
            (progress.step - peak_step) / (last_step - peak_step) if last_step > peak_step else 1
        )
        return _anneal_cosine(1, 1 / (self.div_factor * self.final_div_factor), fraction)


@dataclass(kw_only=True)
class ReduceOnPlateau(Schedule):
    """Reduction by `factor` after more than `patience` epochs without a lower validation loss."""

    needs_validation = True

    factor: Annotated[float, Range(gt=0, lt=1)] = 0.5
    patience: NonNegativeInt = 3
    min_factor: Annotated[float, Range(ge=0, le=1)] = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.state = {"best": None, "bad": 0, "reductions": 0}

    def factor_at(self, progress: Progress) -> float:
        """Return factor^reductions, but at least `min_factor`."""
        return max(self.min_factor, float(self.factor ** self.state["reductions"]))

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
