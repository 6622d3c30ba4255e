"""The systems to compare: each builder returns a function that trains one epoch."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tasks import LEARNING_RATES, MEMORY_TASK, TRACKING_TASK, Task, make_data

if TYPE_CHECKING:
    from nn.config.schema import Config

TrainEpoch = Callable[[], None]


def this_library(task: Task, evaluate: bool = True) -> TrainEpoch:
    """Build this library's own training loop."""
    import numpy as np

    from nn import losses, models, optimizers, schedules, training
    from nn.batches import Batches, Rescaling, Samples
    from nn.network import Network
    from nn.randomness import RandomGenerators

    x, y, test_x, test_y = make_data(task)
    rngs = RandomGenerators.from_seed(0)
    if task.net == "cnn":
        model: Any = models.CNN(channels=[16, 32], normalization="none")
    else:
        model = models.MLP(hidden=task.hidden_sizes)
    network = Network(model.build_layers(10, rngs), x.shape[1:], rngs.init)
    loss = losses.SoftmaxCrossEntropy()
    loss.build(10, np.dtype(np.float32))
    optimizer = {
        "sgd": optimizers.SGD(),
        "momentum": optimizers.SGD(momentum=0.9),
        "adam": optimizers.Adam(),
    }[task.optimizer]
    optimizer.init_state(network.parameters.values)
    scale = Rescaling(1 / 255) if x.dtype == np.uint8 else Rescaling()
    batches = Batches(Samples(x, y, scale), task.batch, rngs.shuffle)
    val_samples = Samples(test_x, test_y, scale) if evaluate else None
    epochs = training.fit(
        network,
        loss,
        optimizer,
        schedules.Constant(),
        LEARNING_RATES[task.optimizer],
        batches,
        val_samples,
        10**6,
    )

    def epoch() -> None:
        next(epochs)

    return epoch


def this_library_training_only(task: Task) -> TrainEpoch:
    """Build this library's training loop without evaluation, to compare with matrix products."""
    return this_library(task, evaluate=False)


def matrix_products(task: Task) -> TrainEpoch:
    """Build the matrix products of the training steps, and nothing else."""
    import numpy as np

    sizes = [task.sample_shape[0], *task.hidden_sizes, 10]
    rng = np.random.default_rng(0)
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        x, dy = (rng.random((task.batch, n), dtype=np.float32) for n in (fan_in, fan_out))
        weight = rng.random((fan_in, fan_out), dtype=np.float32)
        layers.append((x, dy, weight, np.empty_like(dy), np.empty_like(weight), np.empty_like(x)))

    def epoch() -> None:
        for _ in range(-(-task.n_samples // task.batch)):
            for x, _, weight, y, _, _ in layers:
                np.matmul(x, weight, out=y)
            for x, dy, _, _, gradient, _ in layers:
                np.matmul(x.T, dy, out=gradient)
            for _, dy, weight, _, _, dx in layers[1:]:
                np.matmul(dy, weight.T, out=dx)

    return epoch


def torch_eager(task: Task, use_dataloader: bool = False) -> TrainEpoch:
    """Build PyTorch's training loop as in its tutorials, with one tensor or a DataLoader."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    x, y, test_x, test_y = map(torch.from_numpy, make_data(task))
    if task.net == "memory":
        x, test_x = x.float().div_(255), test_x.float().div_(255)
    if task.net == "cnn":
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
    else:
        sizes, layers = [task.sample_shape[0], *task.hidden_sizes], []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(sizes[-1], 10))
    lr, loss = LEARNING_RATES[task.optimizer], nn.CrossEntropyLoss()
    optimizer: Any = {
        "sgd": lambda p: torch.optim.SGD(p, lr),
        "momentum": lambda p: torch.optim.SGD(p, lr, 0.9),
        "adam": lambda p: torch.optim.Adam(p, lr),
    }[task.optimizer](network.parameters())
    dataset = torch.utils.data.TensorDataset(x, y)
    dataloader = torch.utils.data.DataLoader(dataset, task.batch, shuffle=True)

    def iterate_batches() -> Iterator[tuple[Any, Any]]:
        order = torch.randperm(len(x))
        for start in range(0, len(x), task.batch):
            rows = order[start : start + task.batch]
            yield x[rows], y[rows]

    def epoch() -> None:
        network.train()
        for batch, labels in dataloader if use_dataloader else iterate_batches():
            optimizer.zero_grad()
            loss(network(batch), labels).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for start in range(0, len(test_x), 512):
                outputs = network(test_x[start : start + 512])
                (outputs.argmax(1) == test_y[start : start + 512]).sum().item()

    return epoch


def torch_dataloader(task: Task) -> TrainEpoch:
    """Build PyTorch's training loop with a DataLoader."""
    return torch_eager(task, use_dataloader=True)


def sklearn_mlp(task: Task) -> TrainEpoch:
    """Build scikit-learn's MLPClassifier, trained one epoch at a time."""
    from sklearn.neural_network import MLPClassifier

    x, y, test_x, test_y = make_data(task)
    network = MLPClassifier(
        task.hidden_sizes,
        solver="adam" if task.optimizer == "adam" else "sgd",
        batch_size=task.batch,
        learning_rate_init=LEARNING_RATES[task.optimizer],
        momentum=0.9 if task.optimizer == "momentum" else 0.0,
        nesterovs_momentum=False,
        alpha=0.0,
    )

    def epoch() -> None:
        network.partial_fit(x, y, classes=range(10))
        network.score(test_x, test_y)

    return epoch


def jax_jit(task: Task) -> TrainEpoch:
    """Build a JAX training loop with a compiled training step."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    x, y, test_x, test_y = make_data(task)
    rng, lr = np.random.default_rng(0), LEARNING_RATES[task.optimizer]
    sizes = [task.sample_shape[0], *task.hidden_sizes, 10]
    parameters = [
        (rng.standard_normal((n, m)).astype(np.float32) * (2 / n) ** 0.5, np.zeros(m, np.float32))
        for n, m in pairwise(sizes)
    ]

    def forward(parameters: Any, x: Any) -> Any:
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return x @ parameters[-1][0] + parameters[-1][1]

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        log_likelihoods = jnp.take_along_axis(
            jax.nn.log_softmax(forward(parameters, x)), y[:, None], 1
        )
        return -log_likelihoods.mean()

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


def compose_run_config(task: Task) -> Config:
    """Compose the configuration of a run on digits."""
    from nn.config.compose import compose_config

    overrides = [
        f"model.hidden={task.hidden_sizes}",
        f"batch_size={task.batch}",
        "tracking=offline",
    ]
    return compose_config(overrides)


def full_run(task: Task) -> TrainEpoch:
    """Build a complete run of 20 epochs: run directory, offline W&B run and console output."""
    from nn.runs.runner import run

    directory = tempfile.TemporaryDirectory()
    config = compose_run_config(task)

    def run_epochs() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            run(config, Path(tempfile.mkdtemp(dir=directory.name)) / "run")

    return run_epochs


def run_training_only(task: Task) -> TrainEpoch:
    """Build the training and evaluation of `full_run` without any recording."""
    from nn.runs.experiment import prepare
    from nn.training import evaluate, fit

    config = compose_run_config(task)

    def run_epochs() -> None:
        experiment = prepare(config)
        for _ in fit(
            experiment.network,
            experiment.loss,
            experiment.optimizer,
            experiment.schedule,
            experiment.batches,
            experiment.dataset.val,
            lr=config.lr,
            epochs=config.epochs,
        ):
            pass
        evaluate(experiment.network, experiment.loss, experiment.dataset.test)

    return run_epochs


SYSTEMS: dict[str, Callable[[Task], TrainEpoch]] = {
    "ours": this_library,
    "ours, training only": this_library_training_only,
    "matrix products": matrix_products,
    "PyTorch": torch_eager,
    "PyTorch with DataLoader": torch_dataloader,
    "scikit-learn": sklearn_mlp,
    "JAX": jax_jit,
    "whole run": full_run,
    "no tracking": run_training_only,
}
REQUIRED_PACKAGES = {
    "PyTorch": "torch",
    "PyTorch with DataLoader": "torch",
    "scikit-learn": "sklearn",
    "JAX": "jax",
}


def list_systems(task: Task) -> list[str]:
    """List the installed systems that support a task; the first is the reference of the ratios."""
    if task == TRACKING_TASK:
        return ["whole run", "no tracking"]
    if task == MEMORY_TASK:
        return ["ours", "PyTorch"] if find_spec("torch") else ["ours"]
    is_supported = {
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
        if is_supported.get(name, True)
        and (name not in REQUIRED_PACKAGES or find_spec(REQUIRED_PACKAGES[name]))
    ]
