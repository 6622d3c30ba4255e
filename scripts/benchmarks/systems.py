"""Who trains: this library and others, each ready to train an epoch when asked."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.tasks import LEARNING_RATE, MEMORY, TRACKING, Task, data

Epoch = Callable[[], None]


def ours(task: Task, evaluating: bool = True) -> Epoch:
    """This library, through its own training loop."""
    import numpy as np

    from nn import losses, models, optimizers, schedules, training
    from nn.batches import Batches, Samples, Scale
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
    scale = Scale(1 / 255) if x.dtype == np.uint8 else Scale()
    batches = Batches(Samples(x, y, scale), task.batch, chance.shuffle)
    judged = Samples(test_x, test_y, scale) if evaluating else None
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
    if task.net == "memory":
        x, test_x = x.float().div_(255), test_x.float().div_(255)
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


def configured(task: Task) -> dict[str, Any]:
    """Compose the configuration of a run on digits."""
    from nn.config.compose import configuration

    words = [f"model.hidden={task.hidden}", f"batch_size={task.batch}", "tracking=offline"]
    return configuration(words)


def whole_run(task: Task) -> Epoch:
    """Twenty epochs as a user runs them: the run folder, an offline W&B run, and the screen."""
    from nn.runs.runner import run

    folder = tempfile.TemporaryDirectory()
    config = configured(task)

    def epochs() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            run(config, Path(tempfile.mkdtemp(dir=folder.name)) / "run")

    return epochs


def training_of_a_run(task: Task) -> Epoch:
    """The same training, and nothing but the training."""
    from nn.runs.experiment import prepare
    from nn.training import evaluate, fit

    config = configured(task)

    def epochs() -> None:
        e = prepare(config)
        for _ in fit(
            e.network,
            e.loss,
            e.optimizer,
            e.schedule,
            config["lr"],
            e.batches,
            e.dataset.val,
            config["epochs"],
        ):
            pass
        evaluate(e.network, e.loss, e.dataset.test)

    return epochs


SYSTEMS: dict[str, Callable[[Task], Epoch]] = {
    "ours": ours,
    "ours, training only": ours_training_only,
    "matrix products": products,
    "PyTorch": torch_eager,
    "PyTorch with DataLoader": torch_loader,
    "scikit-learn": sklearn,
    "JAX": jax,
    "whole run": whole_run,
    "no tracking": training_of_a_run,
}
NEEDS = {
    "PyTorch": "torch",
    "PyTorch with DataLoader": "torch",
    "scikit-learn": "sklearn",
    "JAX": "jax",
}


def systems_for(task: Task) -> list[str]:
    """List who can do a task and is installed; the first is what the others are held against."""
    if task == TRACKING:
        return ["whole run", "no tracking"]
    if task == MEMORY:
        return ["ours", "PyTorch"] if find_spec("torch") else ["ours"]
    able = {
        "ours, training only": task.net == "mlp" and task.optimizer == "sgd",
        "matrix products": task.net == "mlp" and task.optimizer == "sgd",
        "PyTorch with DataLoader": task.net == "mlp" and task.batch in (32, 128),
        "scikit-learn": task.net != "cnn",
        "JAX": task.net != "cnn" and task.optimizer == "sgd",
        "whole run": False,
        "no tracking": False,
    }
    return [
        name
        for name in SYSTEMS
        if able.get(name, True) and (name not in NEEDS or find_spec(NEEDS[name]))
    ]
