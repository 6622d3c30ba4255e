"""How a step goes from a gradient to better parameters, all on flat vectors."""

from __future__ import annotations

import numpy as np

from nn.errors import require
from nn.types import Array


class SGD:
    """Gradient descent, with momentum if it is above 0 (Polyak, 1964)."""

    def __init__(self, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        require(0 <= momentum < 1, "momentum", momentum, "at least 0 and below 1")
        require(0 <= weight_decay < np.inf, "weight_decay", weight_decay, "at least 0 and finite")
        self.momentum, self.weight_decay = momentum, weight_decay

    def start(self, parameters: Array) -> None:
        """Begin with parameters of this size; what an optimizer remembers is its state."""
        self.work = np.zeros_like(parameters)
        self.state = {"velocity": np.zeros_like(parameters)} if self.momentum else {}

    def step(self, parameters: Array, gradients: Array, lr: float) -> None:
        """velocity = momentum * velocity + gradient; parameters -= lr * velocity."""
        if self.weight_decay:
            gradients += np.multiply(parameters, self.weight_decay, out=self.work)
        if self.momentum:
            velocity = self.state["velocity"]
            velocity *= self.momentum
            velocity += gradients
            gradients = velocity
        parameters -= np.multiply(gradients, lr, out=self.work)
