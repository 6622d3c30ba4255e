"""One configuration in, one trained network and all its numbers out.

The command line, a sweep agent, an offline sweep worker and a resumed run all call `run`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nn import metrics
from nn.errors import Diverged
from nn.experiment import Experiment, prepare
from nn.interrupts import interruptible
from nn.profile import Profile
from nn.tracking import environment
from nn.tracking.display import Display
from nn.tracking.mirror import Mirror
from nn.tracking.run_folder import RunFolder
from nn.training import Epoch, Scores, fit, predict


def run(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Train, keep every number in a folder of the run's own, and give the summary."""
    experiment = prepare(config)
    names = experiment.dataset.class_names
    status, history, judged, profile = "crashed", [], {}, None
    mirror = Mirror(experiment.tracking, path, config)
    display = Display(config["epochs"], experiment.batches)
    with (
        interruptible(),
        threadpool_limits(config["threads"], "blas"),
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        RunFolder(path, config, environment.describe()) as folder,
    ):
        began = time.perf_counter()
        try:
            display.title(_title(experiment, config))
            mirror.open()
            if config["profile"]:
                profile = _profile(experiment, folder, mirror, display)
            began = time.perf_counter()
            with display:
                for epoch in _train(experiment, config):
                    history.append(epoch)
                    folder.append(epoch.record())
                    mirror.log(epoch.record())
                    display.epoch(epoch)
            judged = _judge(experiment, history[-1].number, config)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except Diverged:
            status = "diverged"
            raise
        finally:
            seconds = time.perf_counter() - began
            summary = _summary(status, experiment, history, seconds) | judged
            folder.finish(summary)
            place = mirror.finish(summary, names)
            display.result(summary, names, path, place)
            if profile and history:
                display.profile(profile.table(history))
    return summary


def _train(experiment: Experiment, config: Mapping[str, Any]) -> Iterator[Epoch]:
    """Yield epochs until all are done, patience is at its end, or the loss is no number."""
    kept = experiment.kept
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
        if epoch.finite:
            kept.see(epoch)
        yield epoch
        if not epoch.finite:
            raise _diverged(epoch.number, config)
        if kept.exhausted(epoch):
            break
    kept.restore()


def _diverged(epoch: int, config: Mapping[str, Any]) -> Diverged:
    return Diverged(
        f"Training diverged in epoch {epoch}: the loss is no finite number any more. "
        f"A learning rate below lr={config['lr']:g} may help."
    )


def _judge(experiment: Experiment, epoch: int, config: Mapping[str, Any]) -> dict[str, Any]:
    """Score the kept weights on the test set, which is read here and nowhere else."""
    dataset, loss = experiment.dataset, experiment.loss
    samples = dataset.test or dataset.val
    if samples is None:
        return {}
    outputs = predict(experiment.network, samples)
    scores = Scores.of(loss, outputs, samples.labels)
    if not math.isfinite(scores.loss):
        raise _diverged(epoch, config)
    part = "test" if dataset.test else "val"
    return {
        f"{part}/accuracy": scores.accuracy,
        f"{part}/loss": scores.loss,
        f"{part}/top3": metrics.top(3, outputs, samples.labels),
        f"{part}/calibration_error": metrics.calibration_error(
            loss.probabilities(outputs), samples.labels
        ),
        "precision": metrics.precision(scores.confusion),
        "recall": metrics.recall(scores.confusion),
        "f1": metrics.f1(scores.confusion),
        "confusion_matrix": scores.confusion.tolist(),
    }


def _profile(
    experiment: Experiment, folder: RunFolder, mirror: Mirror, display: Display
) -> Profile:
    """Put stopwatches around everything that happens in an epoch and after it."""
    profile = Profile()
    profile.watch(experiment.batches, "gather", "batches")
    profile.watch_layers(experiment.network)
    profile.watch(experiment.loss, "gradient", "loss")
    profile.watch(experiment.optimizer, "step", "optimizer")
    for owner, method in ((folder, "append"), (mirror, "log"), (display, "epoch")):
        profile.watch_tracking(owner, method)
    return profile


def _summary(
    status: str, experiment: Experiment, history: list[Epoch], seconds: float
) -> dict[str, Any]:
    """Sum up a run as far as it got; what the test set says is not known yet."""
    kept = experiment.kept
    val = kept.epoch.val if kept.epoch else None
    return {
        "status": status,
        "test/accuracy": None,
        "test/loss": None,
        "val/accuracy": val.accuracy if val else None,
        "val/loss": val.loss if val else None,
        "best/epoch": kept.best.number if kept.best else None,
        "epochs": len(history),
        "parameters": len(experiment.network.parameters),
        "weights/sha256": experiment.network.digest(),
        "dataset/sha256": experiment.dataset.sha256,
        "seconds": seconds,
        "confusion_matrix": val.confusion.tolist() if val else None,
    }


def _title(experiment: Experiment, config: Mapping[str, Any]) -> str:
    """Say what is trained on what."""
    dataset, chosen = experiment.dataset, config["choices"]
    sets = [("to train on", dataset.train), ("to validate", dataset.val), ("to test", dataset.test)]
    counts = ", ".join(f"{len(samples):,} {use}" for use, samples in sets if samples)
    return (
        f"{chosen['dataset']}: samples {counts}\n"
        f"{chosen['model']}, {chosen['optimizer']} with lr={config['lr']:g}:\n"
        f"{experiment.network.table()}"
    )
