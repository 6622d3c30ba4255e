"""The systems to compare: each builder returns a function that trains one epoch."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.tasks import LEARNING_RATES, MEMORY_TASK, TRACKING_TASK, Task, make_data

if TYPE_CHECKING:
    import jax

    from nn.config.schema import Config
    from nn.models import Model

    Params = list[tuple[jax.Array, jax.Array]]
    Metrics = tuple[jax.Array, ...]
    JaxData = tuple[jax.Array, ...]
    JaxLoss = Callable[[Params, jax.Array, jax.Array], Metrics]
    JaxUpdate = Callable[[Params, jax.Array, jax.Array], tuple[Params, Metrics]]

TrainEpoch = Callable[[], None]
Builder = Callable[[Task], TrainEpoch]


def this_library(task: Task, evaluate: bool = True) -> TrainEpoch:
    """Build this library's own training loop."""
    import numpy as np

    from nn.batches import Batches, Rescaling, Samples
    from nn.losses import SoftmaxCrossEntropy
    from nn.models import CNN, MLP
    from nn.network import Network
    from nn.optimizers import SGD, Adam
    from nn.randomness import RandomGenerators
    from nn.schedules import Constant
    from nn.training import fit

    x, y, test_x, test_y = make_data(task)
    rngs = RandomGenerators.from_seed(0)
    model: Model = MLP(hidden=task.hidden_sizes)
    if task.name == "cnn":
        model = CNN(channels=[16, 32], normalization="none")
    network = Network(model.build_layers(10, rngs), x.shape[1:], rngs.init)
    loss = SoftmaxCrossEntropy()
    loss.build(10, np.dtype(np.float32))
    optimizers = {"sgd": SGD(), "momentum": SGD(momentum=0.9), "adam": Adam()}
    optimizer = optimizers[task.optimizer]
    optimizer.init_state(network.parameters.values)
    scale = Rescaling(1 / 255) if x.dtype == np.uint8 else Rescaling()
    batches = Batches(Samples(x, y, scale), task.batch_size, rngs.shuffle)
    epochs = fit(
        network,
        loss,
        optimizer,
        Constant(),
        batches=batches,
        validation_data=Samples(test_x, test_y, scale) if evaluate else None,
        lr=LEARNING_RATES[task.optimizer],
        epochs=10**6,
    )

    def train_epoch() -> None:
        next(epochs)

    return train_epoch


def matrix_products(task: Task) -> TrainEpoch:
    """Build the matrix products of the training steps, and nothing else."""
    import numpy as np

    rng = np.random.default_rng(0)
    layers = []
    for fan_in, fan_out in pairwise(task.layer_sizes):
        x, dy = (rng.random((task.batch_size, n), dtype=np.float32) for n in (fan_in, fan_out))
        weight = rng.random((fan_in, fan_out), dtype=np.float32)
        layers.append((x, dy, weight, np.empty_like(dy), np.empty_like(weight), np.empty_like(x)))

    def train_epoch() -> None:
        for _ in range(0, task.num_samples, task.batch_size):
            for x, _, weight, y, _, _ in layers:
                np.matmul(x, weight, out=y)
            for x, dy, _, _, grad, _ in layers:
                np.matmul(x.T, dy, out=grad)
            for _, dy, weight, _, _, dx in layers[1:]:
                np.matmul(dy, weight.T, out=dx)

    return train_epoch


def torch_eager(task: Task, use_dataloader: bool = False) -> TrainEpoch:
    """Build PyTorch's training loop as in its tutorials, with one tensor or a DataLoader."""
    import torch
    from torch import nn
    from torch.optim import SGD, Adam
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    x, y, test_x, test_y = map(torch.from_numpy, make_data(task))
    if task == MEMORY_TASK:
        x, test_x = x.float().div_(255), test_x.float().div_(255)
    if task.name == "cnn":
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
    else:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(task.layer_sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        network = nn.Sequential(*layers[:-1])
    optimizers = {"sgd": SGD, "momentum": partial(SGD, momentum=0.9), "adam": Adam}
    optimizer = optimizers[task.optimizer](network.parameters(), LEARNING_RATES[task.optimizer])
    loss = nn.CrossEntropyLoss()
    dataloader = DataLoader(TensorDataset(x, y), task.batch_size, shuffle=True)

    def iterate_batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows in torch.randperm(len(x)).split(task.batch_size):
            yield x[rows], y[rows]

    def train_epoch() -> None:
        network.train()
        for batch, labels in dataloader if use_dataloader else iterate_batches():
            optimizer.zero_grad()
            loss(network(batch), labels).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for batch, labels in zip(test_x.split(512), test_y.split(512), strict=True):
                (network(batch).argmax(1) == labels).sum().item()

    return train_epoch


def sklearn_mlp(task: Task) -> TrainEpoch:
    """Build scikit-learn's MLPClassifier, trained one epoch at a time."""
    from sklearn.neural_network import MLPClassifier

    x, y, test_x, test_y = make_data(task)
    network = MLPClassifier(
        task.hidden_sizes,
        solver="adam" if task.optimizer == "adam" else "sgd",
        batch_size=task.batch_size,
        learning_rate_init=LEARNING_RATES[task.optimizer],
        momentum=0.9 if task.optimizer == "momentum" else 0.0,
        nesterovs_momentum=False,
        alpha=0.0,
    )

    def train_epoch() -> None:
        network.partial_fit(x, y, classes=range(10))
        network.score(test_x, test_y)

    return train_epoch


def jax_step(task: Task) -> TrainEpoch:
    """Build a JAX training loop with a compiled training step."""
    import jax
    import numpy as np

    x, y, test_x, test_y = make_data(task)
    rng, params = np.random.default_rng(0), _init_jax_params(task)
    loss, update = _define_jax_functions(task)
    step = jax.jit(lambda params, x, y: update(params, x, y)[0])
    evaluate = jax.jit(loss)

    def train_epoch() -> None:
        nonlocal params
        order = rng.permutation(len(x))
        for start in range(0, len(x), task.batch_size):
            batch = order[start : start + task.batch_size]
            params = step(params, x[batch], y[batch])
        for start in range(0, len(test_x), 512):
            rows = slice(start, start + 512)
            int(evaluate(params, test_x[rows], test_y[rows])[1])

    return train_epoch


def jax_epoch(task: Task) -> TrainEpoch:
    """Build a JAX training loop whose whole epoch is compiled, with all data on the device.

    It computes the loss and the accuracy in training and evaluation, as this library does.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    x, y, test_x, test_y = map(jnp.asarray, make_data(task))
    rng, params = np.random.default_rng(0), _init_jax_params(task)
    loss, update = _define_jax_functions(task)
    num_full = len(x) // task.batch_size * task.batch_size

    def run_epoch(params: Params, order: jax.Array, data: JaxData) -> tuple[Params, Metrics]:
        x, y, test_x, test_y = data

        def step(params: Params, rows: jax.Array) -> tuple[Params, Metrics]:
            return update(params, x[rows], y[rows])

        params, metrics = jax.lax.scan(step, params, order[:num_full].reshape(-1, task.batch_size))
        train = jax.tree.map(jnp.sum, metrics)
        if num_full < len(order):
            params, last_batch = step(params, order[num_full:])
            train = jax.tree.map(jnp.add, train, last_batch)
        return params, (*train, *loss(params, test_x, test_y))

    compiled_epoch = jax.jit(run_epoch, donate_argnums=0)

    def train_epoch() -> None:
        nonlocal params
        params, metrics = compiled_epoch(params, rng.permutation(len(x)), (x, y, test_x, test_y))
        jax.block_until_ready(metrics)

    return train_epoch


def _init_jax_params(task: Task) -> Params:
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)
    return [
        (jnp.asarray(rng.standard_normal((n, m)) * (2 / n) ** 0.5, np.float32), jnp.zeros(m))
        for n, m in pairwise(task.layer_sizes)
    ]


def _define_jax_functions(task: Task) -> tuple[JaxLoss, JaxUpdate]:
    """Return the loss with the number of correct predictions, and a step of SGD."""
    import jax
    import jax.numpy as jnp

    lr = LEARNING_RATES[task.optimizer]

    def loss(params: Params, x: jax.Array, y: jax.Array) -> Metrics:
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        logits = x @ params[-1][0] + params[-1][1]
        log_probabilities = jax.nn.log_softmax(logits)
        value = -jnp.take_along_axis(log_probabilities, y[:, None], 1).mean()
        return value, (logits.argmax(1) == y).sum()

    def update(params: Params, x: jax.Array, y: jax.Array) -> tuple[Params, Metrics]:
        metrics, gradients = jax.value_and_grad(loss, has_aux=True)(params, x, y)
        updated: Params = jax.tree.map(lambda p, grad: p - lr * grad, params, gradients)
        return updated, metrics

    return loss, update


def compose_run_config(task: Task) -> Config:
    """Compose the configuration of a run on digits."""
    from nn.config.compose import compose_config

    hidden, batch_size = f"model.hidden={task.hidden_sizes}", f"batch_size={task.batch_size}"
    return compose_config([hidden, batch_size, "tracking=offline"])


def full_run(task: Task) -> TrainEpoch:
    """Build a complete run of 20 epochs: run directory, offline W&B run and console output."""
    from nn.runs.runner import run

    directory = tempfile.TemporaryDirectory()
    config = compose_run_config(task)

    def train_run() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            run(config, Path(tempfile.mkdtemp(dir=directory.name)) / "run")

    return train_run


def run_training_only(task: Task) -> TrainEpoch:
    """Build the training and evaluation of `full_run` without any recording."""
    from nn.runs.experiment import prepare
    from nn.training import evaluate, fit

    config = compose_run_config(task)

    def train_run() -> None:
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
        if experiment.dataset.test is not None:
            evaluate(experiment.network, experiment.loss, experiment.dataset.test)

    return train_run


def get_systems(task: Task) -> dict[str, Builder]:
    """Return the installed systems that support a task; ratios refer to the first one."""
    if task == TRACKING_TASK:
        return {"whole run": full_run, "no tracking": run_training_only}
    is_mlp, is_sgd = task.name == "mlp", task.optimizer == "sgd"
    is_float_mlp = task.name not in ("cnn", "memory")
    has_torch, has_jax = (find_spec(package) is not None for package in ("torch", "jax"))
    is_small_batch = task.batch_size in (32, 128)
    training_only = partial(this_library, evaluate=False)
    torch_dataloader = partial(torch_eager, use_dataloader=True)
    systems: list[tuple[str, Builder, bool]] = [
        ("this library", this_library, True),
        ("this library, training only", training_only, is_mlp and is_sgd),
        ("matrix products", matrix_products, is_mlp and is_sgd),
        ("PyTorch", torch_eager, has_torch),
        ("PyTorch with DataLoader", torch_dataloader, has_torch and is_mlp and is_small_batch),
        ("scikit-learn", sklearn_mlp, is_float_mlp),
        ("JAX", jax_step, has_jax and is_float_mlp and is_sgd),
        ("JAX, compiled epoch", jax_epoch, has_jax and is_float_mlp and is_sgd),
    ]
    return {name: build for name, build, is_supported in systems if is_supported}
