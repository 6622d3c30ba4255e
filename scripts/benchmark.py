"""Time this library against the bare matrix products and against other libraries.

Every system stands in a process of its own. They take turns, with a pause in between, since idle
BLAS threads disturb whoever comes next; what is told is the median of the ratios of each round,
with the lowest and the highest. A ratio is what they take over what we take. A library that is
not installed is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
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
        return {"digits": (64,), "run": (64,), "cnn": (1, 28, 28)}.get(self.net, (784,))

    @property
    def hidden(self) -> list[int]:
        """The hidden layers of an MLP."""
        sizes = {"wide": [512, 512, 512], "run": [2048, 1024, 512]}
        return sizes.get(self.net, [128, 64])

    @property
    def samples(self) -> int:
        """The samples of an epoch."""
        sizes = {"mlp": 42_000, "memory": 60_000, "cnn": 2_048}
        return sizes.get(self.net, 8_000)

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


TRACKING = Task("run", 32, "sgd")
MEMORY = Task("memory", 128, "sgd")


def data(task: Task) -> tuple[Any, Any, Any, Any]:
    """Draw samples and labels, to learn from and to be judged on."""
    import numpy as np

    rng = np.random.default_rng(0)
    samples = task.samples + task.evaluated
    if task.net == "memory":
        x = rng.integers(0, 256, (samples, *task.shape), np.uint8)
    else:
        x = rng.random((samples, *task.shape), dtype=np.float32)
    y = rng.integers(0, 10, samples)
    return x[: task.samples], y[: task.samples], x[task.samples :], y[task.samples :]


Epoch = Callable[[], None]


def ours(task: Task, evaluating: bool = True) -> Epoch:
    """This library, through its own training loop."""
    import numpy as np

    from nn import losses, models, optimizers, schedules, training
    from nn.data.batches import Batches
    from nn.data.dataset import Samples
    from nn.data.inputs import Scale
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
    from nn.config.composed import configuration

    words = [f"model.hidden={task.hidden}", f"batch_size={task.batch}", "tracking=offline"]
    return configuration(words)


def whole_run(task: Task) -> Epoch:
    """Twenty epochs as a user runs them: the run folder, an offline W&B run, and the screen."""
    from nn.run import run

    folder = tempfile.TemporaryDirectory()
    config = configured(task)

    def epochs() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            run(config, Path(tempfile.mkdtemp(dir=folder.name)) / "run")

    return epochs


def training_of_a_run(task: Task) -> Epoch:
    """The same training, and nothing but the training."""
    from nn.experiment import prepare
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
        return self._ask("epoch")

    def memory(self) -> float:
        """Tell the most memory that the process ever held, in MB."""
        return self._ask("memory")

    def end(self) -> None:
        """Let the process end."""
        self.process.communicate()

    def _ask(self, question: str) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        return self._answer()

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
        for question in sys.stdin:
            began = time.perf_counter()
            if question.strip() == "memory":
                answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            else:
                epoch()
                answer = time.perf_counter() - began
            print(answer, file=answers, flush=True)


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
    first, *others = workers
    for system in others:
        if system != "ours, training only":
            mine = "ours, training only" if system == "matrix products" else first
            yield row(task, system, seconds[system], seconds[mine])


def compare_memory() -> Iterator[dict[str, Any]]:
    """Hold the peak memory of whole processes against each other."""
    peaks = {}
    for system in systems_for(MEMORY):
        worker = Worker(system, MEMORY)
        worker.epoch()
        peaks[system] = worker.memory()
        worker.end()
    for system in list(peaks)[1:]:
        against = f"{system}, memory: {peaks[system]:.0f} MB to {peaks['ours']:.0f}"
        yield row(MEMORY, against, [peaks[system]], [peaks["ours"]])


def compare_start(rounds: int) -> Iterator[dict[str, Any]]:
    """Time from the start of a process to its first training step, or to an open W&B run."""
    seconds: dict[str, list[float]] = {OUR_START: [], BARE_START: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for script, times in seconds.items():
                time.sleep(PAUSE)
                times.append(timed(folder, "-c", script))
    yield row(Task("start", 32, "sgd"), "bare script", seconds[BARE_START], seconds[OUR_START])


OUR_START = f"""
import os, runpy, sys
from nn.optimizers import SGD
SGD.step = lambda *_: os._exit(0)
sys.argv = ["train.py", "tracking=offline"]
runpy.run_path({str(Path(__file__).with_name("train.py"))!r}, run_name="__main__")
"""
BARE_START = """
import os, numpy, hydra, wandb
wandb.init(mode="offline")
os._exit(0)
"""


def compare_sweep(rounds: int) -> Iterator[dict[str, Any]]:
    """Time the trials of a sweep against one process for each, and what a trial costs beside.

    What it costs beside its training is told without the start of the sweep, which comes once.
    """
    words, few, many, here = ["lr=0.05", "batch_size=32", "depth=2"], 10, 70, Path(__file__)
    per_trial: list[float] = []
    by_itself: list[float] = []
    overhead: list[float] = []
    for _ in range(rounds):
        took = []
        for count in (few, many):
            with tempfile.TemporaryDirectory() as folder:
                sweep = [here.with_name("sweep.py"), here.parents[1] / "sweeps/random.yaml"]
                took.append(timed(folder, *sweep, "--count", str(count)))
                summaries = Path(folder).glob("runs/sweeps/random/trials/*/summary.json")
                training = [json.loads(each.read_text())["seconds"] for each in summaries]
        per_trial.append(took[1] / many)
        steady = (took[1] - took[0]) / (many - few) * (os.cpu_count() or 1)
        overhead.append(steady - statistics.mean(training))
        with tempfile.TemporaryDirectory() as folder:
            by_itself.append(timed(folder, here.with_name("train.py"), *words))
    task = Task("sweep", 32, "sgd")
    yield row(task, "train.py for each trial", by_itself, per_trial)
    yield row(task, "0.15 s beside a trial", [0.15] * rounds, overhead)


HARTMANN = {  # Surjanovic and Bingham, Virtual Library of Simulation Experiments: the slopes, where
    3: ([[3, 10, 30], [0.1, 10, 35]] * 2, [
        [3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828],
    ], 3.8627821),
    6: ([
        [10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14],
    ], [
        [1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381],
    ], 3.3223680),
}  # fmt: skip
"""By dimensions: slopes and places of the four hollows, and how deep the deepest is."""


def branin(point: dict[str, Any]) -> float:
    """Three equally deep hollows, at 0."""
    x, y = point["x"], point["y"]
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.3978873)


def hartmann(point: dict[str, Any]) -> float:
    """Four hollows, the deepest at 0; a dimension named useless does nothing."""
    x = [value for name, value in point.items() if name != "useless"]
    slopes, places, depth = HARTMANN[len(x)]
    for weight, slope, place in zip((1, 1.2, 3, 3.2), slopes, places, strict=True):
        square = sum(s * (v - p / 1e4) ** 2 for s, v, p in zip(slope, x, place, strict=True))
        depth -= weight * math.exp(-square)
    return depth


def tuned(point: dict[str, Any]) -> float:
    """Something like the loss of a training, by its settings."""
    lr, wd = math.log10(point["lr"]), math.log10(point["wd"])
    steps = 0.05 * abs(math.log2(point["batch"]) - 5) + 0.1 * abs(point["depth"] - 3)
    return 0.3 * (lr + 1.26) ** 2 + steps + 0.02 * (wd + 4) ** 2 + 0.2 * max(0.0, lr + 0.5)


def chosen(point: dict[str, Any]) -> float:
    """The same where each optimizer has a learning rate of its own; a dimension does nothing."""
    best = {"sgd": -0.5, "momentum": -1.2, "adam": -2.6, "adamw": -2.4, "rmsprop": -3.0}
    worse = {"sgd": 0.08, "momentum": 0.03, "adam": 0.01, "adamw": 0.0, "rmsprop": 0.06}
    worse |= {"relu": 0.0, "gelu": 0.03, "tanh": 0.09}
    optimizer, activation = point["optimizer"], point["activation"]
    bowl = 0.15 * (math.log10(point["lr"]) - best[optimizer]) ** 2
    return bowl + 0.3 * (point["dropout"] - 0.25) ** 2 + worse[optimizer] + worse[activation]


UNIT = {"distribution": "uniform", "min": 0.0, "max": 1.0}
PLANE = {"x": {"min": -5.0, "max": 10.0}, "y": {"min": 0.0, "max": 15.0}}
LR = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}
TUNED = {
    "lr": LR,
    "batch": {"values": [8, 16, 32, 64, 128, 256]},
    "depth": {"min": 1, "max": 6},
    "wd": {"distribution": "log_uniform_values", "min": 1e-6, "max": 0.1},
}
CHOSEN = {
    "lr": LR,
    "optimizer": {"values": ["sgd", "momentum", "adam", "adamw", "rmsprop"]},
    "activation": {"values": ["relu", "gelu", "tanh"]},
    "dropout": {"min": 0.0, "max": 0.9},
    "useless": UNIT,
}
SURFACES: dict[
    str, tuple[Callable[[dict[str, Any]], float], dict[str, Any], float, float | None]
] = {
    "Branin": (branin, PLANE, 0.0, 0.011),
    "Hartmann-6": (hartmann, dict.fromkeys("abcdef", UNIT), 0.0, 0.51),
    "training": (tuned, TUNED, 0.0, 0.0015),
    "Branin, noise 2": (branin, PLANE, 2.0, None),
    "Hartmann-3, noise 0.02, useless": (
        hartmann,
        dict.fromkeys([*"abc", "useless"], UNIT),
        0.02,
        None,
    ),
    "optimizers, noise 0.01, useless": (chosen, CHOSEN, 0.01, None),
}
"""Each with its parameters, the noise, and what W&B's engine reached: measured before, 8 seeds."""


def search(surface: str, sampler: str, seed: int, trials: int) -> tuple[float, float]:
    """Tell the best value of a search, and the seconds of the slowest of its last proposals."""
    import numpy as np
    import optuna

    from nn.sweeps.samplers import made
    from nn.sweeps.schema import Sweep
    from nn.sweeps.space import Space

    function, parameters, noise, _ = SURFACES[surface]
    space = Space(Sweep(method="random", parameters=parameters).parameters)
    study = optuna.create_study(sampler=made(sampler, space, seed, 0))
    rng, values, seconds = np.random.default_rng(seed), [], []
    for _ in range(trials):
        began = time.perf_counter()
        trial = study.ask(space.optuna)
        seconds.append(time.perf_counter() - began)
        values.append(function(space.from_optuna(trial.params)))
        study.tell(trial, values[-1] + noise * rng.normal())
    return min(values), max(seconds[-5:])


def compare_searches(seeds: int, quick: bool) -> Iterator[dict[str, Any]]:
    """The median best value after 40 trials, and the seconds of a proposal after 100."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = ["gp", "random", "tpe", *(["optuna-gp"] if find_spec("torch") and not quick else [])]
    for surface in list(SURFACES)[: 1 if quick else None]:
        result: dict[str, Any] = {"surface": surface}
        for sampler in samplers:
            found = [search(surface, sampler, seed, 40)[0] for seed in range(seeds)]
            result[sampler] = statistics.median(found)
        result["wandb then"] = SURFACES[surface][-1]
        result["seconds"] = search(surface, "gp", 0, 105)[1]
        yield result


def told_searches(seeds: int, quick: bool) -> Iterator[dict[str, Any]]:
    """Print the searches as a table, row by row; W&B's engine was measured before."""
    os.environ.update(THREADS)
    for number, result in enumerate(compare_searches(seeds, quick)):
        if number == 0:
            names = [f"{name:>11}" for name in list(result)[1:]]
            print(f"{'surface':31}" + "".join(names))
        cells = [
            f"{each:11.5f}" if each is not None else " " * 11 for each in list(result.values())[1:]
        ]
        print(f"{result['surface']:31}" + "".join(cells), flush=True)
        yield result


def timed(folder: str, *words: str | Path) -> float:
    """Run a command, and tell the seconds that it took."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def row(task: Task, against: str, theirs: list[float], ours: list[float]) -> dict[str, Any]:
    """Sum up the ratios of all rounds."""
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return {
        **asdict(task),
        "against": against,
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }


def measure(quick: bool, rounds: int) -> Iterator[dict[str, Any]]:
    """Make all comparisons."""
    for task in QUICK if quick else TASKS:
        yield from compare(task, rounds)
    yield from compare_start(min(rounds, 3) if quick else rounds)
    if not quick:
        yield from compare_memory()
        yield from compare_sweep(rounds)
        yield from compare(TRACKING, rounds)


def told_ratios(words: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Print the ratios as a table, row by row."""
    print(f"{'net':7}{'batch':>6} {'optimizer':10}{'against':25}{'ratio':>6}   lowest highest")
    for result in measure(words.quick, words.rounds):
        print(
            f"{result['net']:7}{result['batch']:6} {result['optimizer']:10}"
            f"{result['against']:25}{result['ratio']:6.2f}   "
            f"{result['low']:6.2f} {result['high']:6.2f}",
            flush=True,
        )
        yield result


def main() -> None:
    """Run the comparisons and print them as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three tasks, within a minute")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each system (7)")
    parser.add_argument(
        "--surfaces",
        type=int,
        metavar="SEEDS",
        help="instead, hold the searches of sweeps against each other on surfaces with a formula",
    )
    parser.add_argument("--json", metavar="FILE", help="write the ratios there as well")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.work:
        system, *task = json.loads(words.work)
        work(system, Task(*task))
        return
    told = told_searches(words.surfaces, words.quick) if words.surfaces else told_ratios(words)
    results = list(told)
    if words.json:
        Path(words.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
