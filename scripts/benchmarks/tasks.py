"""The training tasks of the benchmarks, with random data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nn.types import Labels

LEARNING_RATES = {"sgd": 0.05, "momentum": 0.005, "adam": 0.001}


@dataclass(frozen=True)
class Task:
    """A network with its data, a batch size and an optimizer."""

    name: str
    batch_size: int
    optimizer: str

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch dimension."""
        return {"digits": (64,), "run": (64,), "cnn": (1, 28, 28)}.get(self.name, (784,))

    @property
    def hidden_sizes(self) -> list[int]:
        """Sizes of the hidden layers, if the network is an MLP."""
        return {"wide": [512, 512, 512], "run": [2048, 1024, 512]}.get(self.name, [128, 64])

    @property
    def layer_sizes(self) -> list[int]:
        """Sizes of input, hidden layers and output, if the network is an MLP."""
        return [self.sample_shape[0], *self.hidden_sizes, 10]

    @property
    def num_samples(self) -> int:
        """Number of training samples; a fifth as many are added for evaluation."""
        return {"mlp": 42_000, "memory": 60_000, "cnn": 2_048}.get(self.name, 8_000)


TASKS = [
    *(Task("mlp", batch_size, "sgd") for batch_size in (32, 64, 128, 256, 512)),
    *(Task("mlp", batch_size, "momentum") for batch_size in (32, 128)),
    *(Task("mlp", batch_size, "adam") for batch_size in (32, 64, 128, 256, 512)),
    Task("digits", 32, "sgd"),
    Task("wide", 128, "sgd"),
    Task("cnn", 64, "sgd"),
]
QUICK_TASKS = [Task("mlp", 32, "sgd"), Task("mlp", 128, "sgd"), Task("digits", 32, "sgd")]
TRACKING_TASK = Task("run", 32, "sgd")
MEMORY_TASK = Task("memory", 128, "sgd")


def make_data(task: Task) -> tuple[NDArray[np.generic], Labels, NDArray[np.generic], Labels]:
    """Draw random training and evaluation data: x, y, test_x, test_y."""
    import numpy as np

    rng = np.random.default_rng(0)
    num_total = task.num_samples + task.num_samples // 5
    x: NDArray[np.generic]
    if task == MEMORY_TASK:
        x = rng.integers(0, 256, (num_total, *task.sample_shape), np.uint8)
    else:
        x = rng.random((num_total, *task.sample_shape), dtype=np.float32)
    y = rng.integers(0, 10, num_total)
    train, test = slice(task.num_samples), slice(task.num_samples, None)
    return x[train], y[train], x[test], y[test]
