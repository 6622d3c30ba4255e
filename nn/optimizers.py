"""Optimizers on flat vectors of parameters and gradients.

Notation and defaults follow the papers. The vectors that persist from step to step are the
optimizer's `state`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from nn.arrays import aligned_full
from nn.types import Array, Fraction, NonNegative, Positive, check_settings

BLOCK_SIZE = 2**16
"""Number of parameters that are updated at once, so that all operations find them in the cache."""


@dataclass(kw_only=True)
class Optimizer(ABC):
    """Base class of optimizers: gradient clipping and weight decay before the update rule.

    Weight decay is an L2 penalty, which is added to the gradient, or decoupled: then it shrinks
    the weights independently of the update (Loshchilov and Hutter, 2017, arXiv:1711.05101).
    """

    weight_decay: NonNegative = 0.0
    decoupled_weight_decay: bool = False
    max_grad_norm: Positive | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        self.state: dict[str, Array] = {}
        self.num_steps = 0

    @property
    def is_plain_sgd(self) -> bool:
        """Whether the update is exactly -lr * gradient; then lr can be folded into the gradient."""
        return False

    def init_state(self, parameters: Array) -> None:
        """Allocate the state, zero-filled, for a parameter vector."""
        self.num_steps, size, dtype = 0, parameters.size, parameters.dtype
        self.state = {name: aligned_full((size,), 0, dtype) for name in self.state_names()}
        scratch = aligned_full((min(BLOCK_SIZE, size),), 0, dtype)
        self._blocks: list[tuple[slice, dict[str, Array], Array]] = []
        for start in range(0, size, BLOCK_SIZE):
            block = slice(start, start + BLOCK_SIZE)
            state = {name: vector[block] for name, vector in self.state.items()}
            self._blocks.append((block, state, scratch[: size - start]))

    def state_names(self) -> tuple[str, ...]:
        """Return the names of the state vectors."""
        return ()

    def step(self, parameters: Array, gradients: Array, lr: float) -> None:
        """Update the parameters in place; the gradients are overwritten."""
        self.num_steps += 1
        if self.max_grad_norm is not None:
            norm = float(np.sqrt(gradients @ gradients))
            if norm > self.max_grad_norm:
                gradients *= self.max_grad_norm / (norm + 1e-6)  # the same 1e-6 as PyTorch
        whole_state = self.state
        for block, state, scratch in self._blocks:
            self.state, self.scratch = state, scratch
            self._step_block(parameters[block], gradients[block], lr)
        self.state = whole_state

    def _step_block(self, parameters: Array, gradients: Array, lr: float) -> None:
        if self.weight_decay and self.decoupled_weight_decay:
            parameters *= 1 - lr * self.weight_decay
        elif self.weight_decay:
            np.multiply(parameters, self.weight_decay, out=self.scratch)
            gradients += self.scratch
        self.update(parameters, gradients, lr)

    @abstractmethod
    def update(self, parameters: Array, gradients: Array, lr: float) -> None:
        """Apply the update rule to a block of the vectors, to which `state` and `scratch` refer.

        The gradients are clipped and include the L2 penalty.
        """


@dataclass(kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent, optionally with heavy-ball momentum (Polyak, 1964)."""

    momentum: Fraction = 0.0

    def state_names(self) -> tuple[str, ...]:
        """Return `velocity`, which only momentum needs."""
        return ("velocity",) if self.momentum else ()

    @property
    def is_plain_sgd(self) -> bool:
        """Whether momentum, weight decay and clipping are all off."""
        return not (self.momentum or self.weight_decay or self.max_grad_norm)

    def update(self, parameters: Array, gradients: Array, lr: float) -> None:
        """Set velocity = momentum * velocity + gradient; parameters -= lr * velocity."""
        if self.momentum:
            velocity = self.state["velocity"]
            velocity *= self.momentum
            velocity += gradients
            gradients = self.update_direction(gradients, velocity)
        if lr != 1:
            gradients = np.multiply(gradients, lr, out=self.scratch)
        parameters -= gradients

    def update_direction(self, gradients: Array, velocity: Array) -> Array:
        """Return the vector that is subtracted, times lr, from the parameters."""
        return velocity


class Nesterov(SGD):
    """SGD with Nesterov momentum: the gradient at the look-ahead point (Sutskever et al., 2013)."""

    def update_direction(self, gradients: Array, velocity: Array) -> Array:
        """Return gradient + momentum * velocity."""
        np.multiply(velocity, self.momentum, out=self.scratch)
        gradients += self.scratch
        return gradients


@dataclass(kw_only=True)
class Adagrad(Optimizer):
    """Step sizes divided by the root of the summed squared gradients (Duchi et al., 2011)."""

    epsilon: Positive = 1e-10

    def state_names(self) -> tuple[str, ...]:
        """Return `squares`, the accumulated squared gradients."""
        return ("squares",)

    def update(self, parameters: Array, gradients: Array, lr: float) -> None:
        """Set squares += gradient^2; parameters -= lr * gradient / (sqrt(squares) + epsilon)."""
        squares, scratch = self.state["squares"], self.scratch
        np.multiply(gradients, gradients, out=scratch)
        self.accumulate(squares, scratch)
        np.sqrt(squares, out=scratch)
        scratch += self.epsilon
        np.divide(gradients, scratch, out=scratch)
        scratch *= lr
        parameters -= scratch

    def accumulate(self, squares: Array, new_squares: Array) -> None:
        """Add the squared gradients of this step, in place."""
        squares += new_squares


@dataclass(kw_only=True)
class RMSProp(Adagrad):
    """Adagrad with a moving average in place of the sum (Hinton, 2012)."""

    rho: Fraction = 0.99
    epsilon: Positive = 1e-8

    def accumulate(self, squares: Array, new_squares: Array) -> None:
        """Set squares = rho * squares + (1 - rho) * gradient^2."""
        squares *= self.rho
        new_squares *= 1 - self.rho
        squares += new_squares


@dataclass(kw_only=True)
class Adam(Optimizer):
    """Bias-corrected moving averages of the gradient and its square (arXiv:1412.6980)."""

    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8

    def state_names(self) -> tuple[str, ...]:
        """Return `mean` and `square`, the first and second moment estimates."""
        return ("mean", "square")

    def update(self, parameters: Array, gradients: Array, lr: float) -> None:
        """Set parameters -= lr * m / (sqrt(v) + epsilon).

        m and v are `mean` and `square`, divided by 1 - beta^num_steps as they start at 0.
        """
        mean, square, scratch = self.state["mean"], self.state["square"], self.scratch
        np.multiply(gradients, gradients, out=scratch)
        scratch *= 1 - self.beta2
        square *= self.beta2
        square += scratch
        gradients *= 1 - self.beta1
        mean *= self.beta1
        mean += gradients
        np.sqrt(square, out=scratch)
        scratch *= 1 / float(np.sqrt(1 - self.beta2**self.num_steps))
        scratch += self.epsilon
        np.divide(mean, scratch, out=scratch)
        scratch *= lr / (1 - self.beta1**self.num_steps)
        parameters -= scratch
