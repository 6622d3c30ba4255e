"""One configuration in, one trained network and all its numbers out.

The command line, a sweep agent, an offline sweep worker and a resumed run all call `run`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nn import knobs
from nn.components import build
from nn.data.batches import Batches
from nn.data.dataset import Dataset
from nn.errors import Diverged
from nn.network import Network
from nn.randomness import Randomness
from nn.tracking import environment
from nn.tracking.display import Display
from nn.tracking.mirror import Mirror, Tracking
from nn.tracking.run_folder import RunFolder
from nn.training import Epoch, Loss, Optimizer, Schedule, Scores, evaluate, fit


@dataclass(frozen=True)
class Experiment:
    """All that a training needs, made from a configuration."""

    dataset: Dataset
    batches: Batches
    network: Network
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    tracking: Tracking


def prepare(config: Mapping[str, Any]) -> Experiment:
    """Make everything and write nothing: whatever is wrong with a configuration shows here."""
    knobs.check(config)
    augmentation, model, loss, optimizer, schedule, tracking = (
        build(group, config.get(group))
        for group in ("augmentation", "model", "loss", "optimizer", "schedule", "tracking")
    )
    tracking.check()
    dataset = _load(json.dumps(config["dataset"]), config["seed"])
    augmentation.check(dataset.shape)
    randomness = Randomness.from_seed(config["seed"])
    layers = model.layers(len(dataset.class_names), randomness)
    network = Network(layers, dataset.shape, randomness.init)
    augment = partial(
        augmentation.apply,
        background=dataset.train.scale.offset,
        rng=randomness.augmentation,
    )
    batches = Batches(
        dataset.train,
        config["batch_size"],
        randomness.shuffle,
        augment if augmentation.active else None,
    )
    return Experiment(dataset, batches, network, loss, optimizer, schedule, tracking)


@lru_cache(maxsize=1)
def _load(source: str, seed: int) -> Dataset:
    """Load a dataset once for all the runs of a process that share it."""
    dataset: Dataset = build("dataset", json.loads(source)).load(Randomness.from_seed(seed).split)
    return dataset


def run(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Train, keep every number in a folder of the run's own, and give the summary."""
    experiment = prepare(config)
    dataset = experiment.dataset
    history: list[Epoch] = []
    status, test = "crashed", None
    with (
        threadpool_limits(config["threads"], "blas"),
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        RunFolder(path, config, environment.describe()) as folder,
    ):
        mirror = Mirror(experiment.tracking, path, config)
        display = Display(_title(experiment, config), config["epochs"], experiment.batches)
        began = time.perf_counter()
        try:
            with display:
                for epoch in _train(experiment, config):
                    history.append(epoch)
                    folder.append(epoch.record())
                    mirror.log(epoch.record())
                    display.epoch(epoch)
            if dataset.test:
                test = evaluate(experiment.network, experiment.loss, dataset.test)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except Diverged:
            status = "diverged"
            raise
        finally:
            seconds = time.perf_counter() - began
            summary = _summary(status, experiment, history, test, seconds)
            folder.finish(summary)
            place = mirror.finish(summary, dataset.class_names)
            display.result(summary, dataset.class_names, path, place)
    return summary


def _train(experiment: Experiment, config: Mapping[str, Any]) -> Iterator[Epoch]:
    """Yield epochs until all are done or the loss is no number any more."""
    experiment.optimizer.start(experiment.network.parameters.values)
    for epoch in fit(
        experiment.network,
        experiment.loss,
        experiment.optimizer,
        experiment.schedule,
        config["lr"],
        experiment.batches,
        experiment.dataset.val,
        config["epochs"],
    ):
        yield epoch
        if not epoch.finite:
            raise Diverged(
                f"Training diverged in epoch {epoch.number}: the loss is no finite number any "
                f"more. A learning rate below lr={config['lr']:g} may help."
            )


def _title(experiment: Experiment, config: Mapping[str, Any]) -> str:
    """Say what is trained on what."""
    dataset, chosen = experiment.dataset, config["choices"]
    sets = [("to train on", dataset.train), ("to validate", dataset.val), ("to test", dataset.test)]
    counts = ", ".join(f"{len(samples):,} {use}" for use, samples in sets if samples)
    return (
        f"{chosen['model']} of {len(experiment.network.parameters):,} parameters, "
        f"{chosen['optimizer']} with lr={config['lr']:g}\n"
        f"{chosen['dataset']}: samples {counts}"
    )


def _summary(
    status: str,
    experiment: Experiment,
    history: list[Epoch],
    test: Scores | None,
    seconds: float,
) -> dict[str, Any]:
    """Sum up a run; the weights are the last epoch's, and so are the scores."""
    val = history[-1].val if history else None
    judged = test or val
    return {
        "status": status,
        "test/accuracy": test.accuracy if test else None,
        "test/loss": test.loss if test else None,
        "val/accuracy": val.accuracy if val else None,
        "val/loss": val.loss if val else None,
        "best/epoch": _best(history),
        "epochs": len(history),
        "parameters": len(experiment.network.parameters),
        "weights/sha256": experiment.network.digest(),
        "dataset/sha256": experiment.dataset.sha256,
        "seconds": seconds,
        "confusion_matrix": judged.confusion.tolist() if judged else None,
    }


def _best(history: list[Epoch]) -> int | None:
    """Find the epoch with the highest validation accuracy; of several, that of the lowest loss."""
    judged = [(-epoch.val.accuracy, epoch.val.loss, epoch.number) for epoch in history if epoch.val]
    return min(judged)[2] if judged else None
