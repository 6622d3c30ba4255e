"""The training tasks of the benchmarks, with random data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEARNING_RATES = {"sgd": 0.05, "momentum": 0.005, "adam": 0.001}


@dataclass(frozen=True)
class Task:
    """A kind of network with its data, a batch size and an optimizer."""

    net: str
    batch: int
    optimizer: str

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample, without the batch dimension."""
        return {"digits": (64,), "run": (64,), "cnn": (1, 28, 28)}.get(self.net, (784,))

    @property
    def hidden_sizes(self) -> list[int]:
        """The sizes of the hidden layers, if the network is an MLP."""
        sizes = {"wide": [512, 512, 512], "run": [2048, 1024, 512]}
        return sizes.get(self.net, [128, 64])

    @property
    def n_samples(self) -> int:
        """The number of training samples."""
        sizes = {"mlp": 42_000, "memory": 60_000, "cnn": 2_048}
        return sizes.get(self.net, 8_000)

    @property
    def n_eval_samples(self) -> int:
        """The number of samples on which an epoch is evaluated."""
        return self.n_samples // 5


TASKS = [
    *(Task("mlp", batch, "sgd") for batch in (32, 64, 128, 256, 512)),
    *(Task("mlp", batch, "momentum") for batch in (32, 128)),
    *(Task("mlp", batch, "adam") for batch in (32, 64, 128, 256, 512)),
    Task("digits", 32, "sgd"),
    Task("wide", 128, "sgd"),
    Task("cnn", 64, "sgd"),
]
QUICK_TASKS = [Task("mlp", 32, "sgd"), Task("mlp", 128, "sgd"), Task("digits", 32, "sgd")]
TRACKING_TASK = Task("run", 32, "sgd")
MEMORY_TASK = Task("memory", 128, "sgd")


def make_data(task: Task) -> tuple[Any, Any, Any, Any]:
    """Draw random training and evaluation data: x, y, test_x, test_y."""
    import numpy as np

    rng = np.random.default_rng(0)
    n_total = task.n_samples + task.n_eval_samples
    if task.net == "memory":
        x = rng.integers(0, 256, (n_total, *task.sample_shape), np.uint8)
    else:
        x = rng.random((n_total, *task.sample_shape), dtype=np.float32)
    y = rng.integers(0, 10, n_total)
    return x[: task.n_samples], y[: task.n_samples], x[task.n_samples :], y[task.n_samples :]
