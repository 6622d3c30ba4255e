"""Time this library against the bare matrix products and against other libraries.

Every system stands in a process of its own. They take turns, with a pause in between, since idle
BLAS threads disturb whoever comes next; what is told is the median of the ratios of each round,
with the lowest and the highest. A library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
PAUSE = 0.1
LEARNING_RATE = {"sgd": 0.05, "momentum": 0.005, "adam": 0.001}


@dataclass(frozen=True)
class Task:
    """What is trained: a network, a batch size and an optimizer."""

    net: str
    batch: int
    optimizer: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample."""
        return {"digits": (64,), "cnn": (1, 28, 28)}.get(self.net, (784,))

    @property
    def hidden(self) -> list[int]:
        """The hidden layers of an MLP."""
        return [512, 512, 512] if self.net == "wide" else [128, 64]

    @property
    def samples(self) -> int:
        """The samples of an epoch."""
        return {"mlp": 42_000, "digits": 8_000, "wide": 8_000, "cnn": 2_048}[self.net]

    @property
    def evaluated(self) -> int:
        """The samples on which an epoch is judged."""
        return self.samples // 5


TASKS = [
    *(Task("mlp", batch, "sgd") for batch in (32, 64, 128, 256, 512)),
    *(Task("mlp", batch, "momentum") for batch in (32, 128)),
    *(Task("mlp", batch, "adam") for batch in (32, 64, 128, 256, 512)),
    Task("digits", 32, "sgd"),
    Task("wide", 128, "sgd"),
    Task("cnn", 64, "sgd"),
]
QUICK = [Task("mlp", 32, "sgd"), Task("mlp", 128, "sgd"), Task("digits", 32, "sgd")]


def data(task: Task) -> tuple[Any, Any, Any, Any]:
    """Draw samples and labels, to learn from and to be judged on."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.random((task.samples + task.evaluated, *task.shape), dtype=np.float32)
    y = rng.integers(0, 10, len(x))
    return x[: task.samples], y[: task.samples], x[task.samples :], y[task.samples :]


Epoch = Callable[[], None]


def ours(task: Task, evaluating: bool = True) -> Epoch:
    """This library, through its own training loop."""
    import numpy as np

    from nn import losses, models, optimizers, schedules, training
    from nn.data.batches import Batches
    from nn.data.dataset import Samples
    from nn.network import Network
    from nn.randomness import Randomness

    x, y, test_x, test_y = data(task)
    chance = Randomness.from_seed(0)
    if task.net == "cnn":
        model: Any = models.CNN(channels=[16, 32], normalization="none")
    else:
        model = models.MLP(hidden=task.hidden)
    network = Network(model.layers(10, chance), x.shape[1:], chance.init)
    loss = losses.SoftmaxCrossEntropy()
    loss.start(10, np.dtype(np.float32))
    optimizer = {
        "sgd": optimizers.SGD(),
        "momentum": optimizers.SGD(momentum=0.9),
        "adam": optimizers.Adam(),
    }[task.optimizer]
    optimizer.start(network.parameters.values)
    batches = Batches(Samples(x, y), task.batch, chance.shuffle)
    judged = Samples(test_x, test_y) if evaluating else None
    endless = training.fit(
        network,
        loss,
        optimizer,
        schedules.Constant(),
        LEARNING_RATE[task.optimizer],
        batches,
        judged,
        10**6,
    )

    def epoch() -> None:
        next(endless)

    return epoch


def ours_training_only(task: Task) -> Epoch:
    """This library without the evaluation, to be held against the matrix products."""
    return ours(task, evaluating=False)


def products(task: Task) -> Epoch:
    """The matrix products of the training steps, and nothing else."""
    import numpy as np

    sizes = [task.shape[0], *task.hidden, 10]
    rng = np.random.default_rng(0)
    layers = []
    for inputs, units in pairwise(sizes):
        x, dy = (rng.random((task.batch, n), dtype=np.float32) for n in (inputs, units))
        weight = rng.random((inputs, units), dtype=np.float32)
        layers.append((x, dy, weight, np.empty_like(dy), np.empty_like(weight), np.empty_like(x)))

    def epoch() -> None:
        for _ in range(-(-task.samples // task.batch)):
            for x, _, weight, y, _, _ in layers:
                np.matmul(x, weight, out=y)
            for x, dy, _, _, gradient, _ in layers:
                np.matmul(x.T, dy, out=gradient)
            for _, dy, weight, _, _, dx in layers[1:]:
                np.matmul(dy, weight.T, out=dx)

    return epoch


def torch_eager(task: Task, loader: bool = False) -> Epoch:
    """PyTorch as its tutorials write it, the data in one tensor or in a DataLoader."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    x, y, test_x, test_y = map(torch.from_numpy, data(task))
    if task.net == "cnn":
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
    else:
        sizes, parts = [task.shape[0], *task.hidden], []
        for inputs, units in pairwise(sizes):
            parts += [nn.Linear(inputs, units), nn.ReLU()]
        network = nn.Sequential(*parts, nn.Linear(sizes[-1], 10))
    lr, loss = LEARNING_RATE[task.optimizer], nn.CrossEntropyLoss()
    optimizer: Any = {
        "sgd": lambda p: torch.optim.SGD(p, lr),
        "momentum": lambda p: torch.optim.SGD(p, lr, 0.9),
        "adam": lambda p: torch.optim.Adam(p, lr),
    }[task.optimizer](network.parameters())
    pairs = torch.utils.data.TensorDataset(x, y)
    loaded = torch.utils.data.DataLoader(pairs, task.batch, shuffle=True)

    def indexed() -> Iterator[tuple[Any, Any]]:
        order = torch.randperm(len(x))
        for start in range(0, len(x), task.batch):
            rows = order[start : start + task.batch]
            yield x[rows], y[rows]

    def epoch() -> None:
        network.train()
        for batch, labels in loaded if loader else indexed():
            optimizer.zero_grad()
            loss(network(batch), labels).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for start in range(0, len(test_x), 512):
                outputs = network(test_x[start : start + 512])
                (outputs.argmax(1) == test_y[start : start + 512]).sum().item()

    return epoch


def torch_loader(task: Task) -> Epoch:
    """PyTorch with a DataLoader."""
    return torch_eager(task, loader=True)


def sklearn(task: Task) -> Epoch:
    """scikit-learn's MLPClassifier, an epoch at a time."""
    from sklearn.neural_network import MLPClassifier

    x, y, test_x, test_y = data(task)
    network = MLPClassifier(
        task.hidden,
        solver="adam" if task.optimizer == "adam" else "sgd",
        batch_size=task.batch,
        learning_rate_init=LEARNING_RATE[task.optimizer],
        momentum=0.9 if task.optimizer == "momentum" else 0.0,
        nesterovs_momentum=False,
        alpha=0.0,
    )

    def epoch() -> None:
        network.partial_fit(x, y, classes=range(10))
        network.score(test_x, test_y)

    return epoch


def jax(task: Task) -> Epoch:
    """JAX, with the training step compiled."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    x, y, test_x, test_y = data(task)
    rng, lr = np.random.default_rng(0), LEARNING_RATE[task.optimizer]
    sizes = [task.shape[0], *task.hidden, 10]
    parameters = [
        (rng.standard_normal((n, m)).astype(np.float32) * (2 / n) ** 0.5, np.zeros(m, np.float32))
        for n, m in pairwise(sizes)
    ]

    def forward(parameters: Any, x: Any) -> Any:
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return x @ parameters[-1][0] + parameters[-1][1]

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        chosen = jnp.take_along_axis(jax.nn.log_softmax(forward(parameters, x)), y[:, None], 1)
        return -chosen.mean()

    @jax.jit
    def step(parameters: Any, x: Any, y: Any) -> Any:
        gradients = jax.grad(loss)(parameters, x, y)
        return jax.tree.map(lambda p, g: p - lr * g, parameters, gradients)

    evaluate = jax.jit(lambda parameters, x, y: (forward(parameters, x).argmax(1) == y).sum())
    state = [jax.tree.map(jnp.asarray, parameters)]

    def epoch() -> None:
        order = rng.permutation(len(x))
        for start in range(0, len(x), task.batch):
            rows = order[start : start + task.batch]
            state[0] = step(state[0], x[rows], y[rows])
        for start in range(0, len(test_x), 512):
            int(evaluate(state[0], test_x[start : start + 512], test_y[start : start + 512]))

    return epoch


SYSTEMS: dict[str, Callable[[Task], Epoch]] = {
    "ours": ours,
    "ours, training only": ours_training_only,
    "matrix products": products,
    "PyTorch": torch_eager,
    "PyTorch with DataLoader": torch_loader,
    "scikit-learn": sklearn,
    "JAX": jax,
}
NEEDS = {
    "PyTorch": "torch",
    "PyTorch with DataLoader": "torch",
    "scikit-learn": "sklearn",
    "JAX": "jax",
}


def systems_for(task: Task) -> list[str]:
    """List who can do a task and is installed."""
    able = {
        "ours, training only": task.net == "mlp" and task.optimizer == "sgd",
        "matrix products": task.net == "mlp" and task.optimizer == "sgd",
        "PyTorch with DataLoader": task.net == "mlp" and task.batch in (32, 128),
        "scikit-learn": task.net != "cnn",
        "JAX": task.net != "cnn" and task.optimizer == "sgd",
    }
    return [
        name
        for name in SYSTEMS
        if able.get(name, True) and (name not in NEEDS or find_spec(NEEDS[name]))
    ]


class Worker:
    """A system in a process of its own, which trains an epoch when asked."""

    def __init__(self, system: str, task: Task) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work", json.dumps([system, *asdict(task).values()])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **THREADS, "PYTHONWARNINGS": "ignore"},
        )
        self._answer()

    def epoch(self) -> float:
        """Train an epoch, and tell the seconds that it took."""
        assert self.process.stdin is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Let the process end."""
        self.process.communicate()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"A worker of the benchmark has died: {self.process.args}")
        return float(line)


def work(system: str, task: Task) -> None:
    """Train an epoch for every line of standard input."""
    from threadpoolctl import threadpool_limits

    answers, sys.stdout = sys.stdout, sys.stderr
    if hasattr(os, "sched_setaffinity"):  # one core each, whatever threads a library starts
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with threadpool_limits(1):
        epoch = SYSTEMS[system](task)
        epoch()
        print(0.0, file=answers, flush=True)
        for _ in sys.stdin:
            began = time.perf_counter()
            epoch()
            print(time.perf_counter() - began, file=answers, flush=True)


def compare(task: Task, rounds: int) -> Iterator[dict[str, Any]]:
    """Let the systems take turns, and yield their ratios to this library."""
    workers = {system: Worker(system, task) for system in systems_for(task)}
    seconds: dict[str, list[float]] = {system: [] for system in workers}
    for turn in range(rounds):
        order = list(workers)
        for system in order[turn % len(order) :] + order[: turn % len(order)]:
            time.sleep(PAUSE)
            seconds[system].append(workers[system].epoch())
    for worker in workers.values():
        worker.end()
    for system in list(workers)[1:]:
        if system == "ours, training only":
            continue
        mine = seconds["ours, training only" if system == "matrix products" else "ours"]
        ratios = [theirs / own for theirs, own in zip(seconds[system], mine, strict=True)]
        yield {
            **asdict(task),
            "against": system,
            "ratio": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
        }


def main() -> None:
    """Run the comparisons and print them as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three tasks, within a minute")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each system (7)")
    parser.add_argument("--json", metavar="FILE", help="write the ratios there as well")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.work:
        system, *task = json.loads(words.work)
        work(system, Task(*task))
        return
    results = []
    print(f"{'net':7}{'batch':>6} {'optimizer':10}{'against':25}{'ratio':>6}   lowest highest")
    for task in QUICK if words.quick else TASKS:
        for row in compare(task, words.rounds):
            results.append(row)
            print(
                f"{row['net']:7}{row['batch']:6} {row['optimizer']:10}{row['against']:25}"
                f"{row['ratio']:6.2f}   {row['low']:6.2f} {row['high']:6.2f}",
                flush=True,
            )
    if words.json:
        Path(words.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
