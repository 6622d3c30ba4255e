"""One configuration in, one trained network and all its numbers out.

The command line, a sweep agent, an offline sweep worker and a resumed run all call `run`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nn import metrics
from nn.errors import Diverged, NotSaved, Pruned
from nn.runs.experiment import Experiment, prepare
from nn.runs.signals import Interrupts, Stopped, hangs_at_exit, interruptible
from nn.predictions import Predictions
from nn.runs.profiler import Profile
from nn.runs.training_state import State
from nn.runs import environment
from nn.runs.console import Display
from nn.tracking.wandb_logger import Mirror
from nn.runs.run_directory import RunFolder
from nn.training import Epoch, Scores, fit, predict


def run(
    config: Mapping[str, Any],
    path: Path,
    resumed: bool = False,
    watch: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Train, keep every number in a folder of the run's own, and give the summary.

    Whoever watches is told of each epoch, and ends the training by raising `Pruned`.
    """
    experiment = prepare(config)
    state = State(
        experiment.network,
        experiment.optimizer,
        experiment.schedule,
        experiment.kept,
        experiment.randomness,
    )
    with (
        interruptible() as interrupts,
        threadpool_limits(config["threads"], "blas"),
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        interrupts.held_off(),  # so that a run which has begun says how it ended
        RunFolder.again(path, config, state, experiment.dataset.sha256)
        if resumed
        else RunFolder.new(path, config, environment.describe()) as folder,
    ):
        return Run(experiment, config, folder, state, interrupts, watch).go(resumed)


class Run:
    """A run under way."""

    def __init__(
        self,
        experiment: Experiment,
        config: Mapping[str, Any],
        folder: RunFolder,
        state: State,
        interrupts: Interrupts,
        watch: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.experiment, self.config, self.folder, self.state = experiment, config, folder, state
        self.interrupts, self.watch = interrupts, watch
        self.mirror = Mirror(
            experiment.tracking,
            folder.path,
            config,
            folder.environment,
            experiment.dataset.class_names,
        )
        self.display = Display(config["epochs"], experiment.batches)
        self.epochs = 0
        self.profile = self._stopwatches() if config["profile"] else None
        self.began = time.perf_counter()

    def go(self, resumed: bool) -> dict[str, Any]:
        """Train to the end, or to whatever ends it, and write what came of it."""
        status = "crashed"
        judged: dict[str, Any] = {}
        predictions = None
        self.display.notes(self.experiment.dataset.notes)
        self.display.title(_title(self.experiment, self.config))
        self.folder.describe_model(self.experiment.network.describe())
        try:
            with self.interrupts.let_in():
                self.mirror.open(self.folder.begun, resume=resumed)
                self.began = time.perf_counter() - self.state.seconds
                with self.display:
                    self._train()
                self.experiment.kept.restore()
                judged, predictions = _judge(self.experiment, self.state.epoch, self.config)
            status = "finished"
        except Stopped:
            status = "interrupted"
            raise
        except Diverged:
            status = "diverged"
            raise
        except Pruned:
            status = "pruned"
            raise
        finally:
            summary = self._end(status, judged, predictions)
        return summary

    def _train(self) -> None:
        """Go through the epochs until all are done, or patience is at its end."""
        experiment, kept = self.experiment, self.experiment.kept
        if kept.exhausted(self.state.epoch):
            return
        for epoch in fit(
            experiment.network,
            experiment.loss,
            experiment.optimizer,
            experiment.schedule,
            self.config["lr"],
            experiment.batches,
            experiment.dataset.val,
            self.config["epochs"],
            self.state.epoch,
        ):
            self.epochs, record = epoch.number, self._record(epoch)
            with self.interrupts.held_off():
                self.folder.append(record)
                if epoch.finite:
                    kept.see(epoch)
                    self.state.keep(epoch.number, self.elapsed, self.folder.history.facts)
                self.mirror.log(record)
            if self.folder.due:
                self.folder.save(self.state, experiment.dataset)
            self.display.epoch(epoch)
            if self.profile:
                self.profile.see(epoch)
            if not epoch.finite:
                raise _diverged(epoch.number, self.config)
            self.watch(record)
            if kept.exhausted(epoch.number):
                return

    def _record(self, epoch: Epoch) -> dict[str, Any]:
        """Make an epoch's line of history, now and then with a confusion matrix."""
        every = self.experiment.tracking.every
        if epoch.val and every and epoch.number % every == 0:
            return {**epoch.record(), "val/confusion_matrix": epoch.val.confusion.tolist()}
        return epoch.record()

    def _end(
        self, status: str, judged: Mapping[str, Any], predictions: Predictions | None
    ) -> dict[str, Any]:
        """Write state and result; a run that did not finish is as its last epoch left it."""
        experiment, lost = self.experiment, None
        names = experiment.dataset.class_names
        if status != "finished":
            self.state.put_back()
            experiment.kept.restore()
        epochs = self.epochs or self.state.epoch
        summary = {**_summary(status, experiment, epochs, self.elapsed), **judged}
        self.folder.save(self.state, experiment.dataset)
        if predictions:
            self.folder.keep(predictions)
        try:
            self.folder.finish(summary)
        except NotSaved as error:
            lost = error
        with self.interrupts.let_in():
            self.display.result(summary, names, self.folder.path)
            try:
                self.display.place(self.mirror.finish(summary, predictions))
            finally:
                if self.mirror.hangs_at_exit:
                    hangs_at_exit.set()
            if self.profile and self.epochs:
                self.display.profile(self.profile.table())
        if lost:
            raise lost
        return summary

    @property
    def elapsed(self) -> float:
        """The seconds of training, those before a resumption too."""
        return time.perf_counter() - self.began

    def _stopwatches(self) -> Profile:
        """Put stopwatches around everything that happens in an epoch and after it."""
        profile, experiment = Profile(), self.experiment
        profile.watch(experiment.batches, "gather", "batches")
        profile.watch_layers(experiment.network)
        profile.watch(experiment.loss, "gradient", "loss")
        profile.watch(experiment.optimizer, "step", "optimizer")
        for owner, method in (
            (self.folder, "append"),
            (self.folder, "save"),
            (self.state, "keep"),
            (self.mirror, "log"),
            (self.display, "epoch"),
        ):
            profile.watch_tracking(owner, method)
        return profile


def _diverged(epoch: int, config: Mapping[str, Any]) -> Diverged:
    return Diverged(
        f"Training diverged in epoch {epoch}: the loss is no finite number any more. "
        f"A learning rate below lr={config['lr']:g} may help."
    )


def _judge(
    experiment: Experiment, epoch: int, config: Mapping[str, Any]
) -> tuple[dict[str, Any], Predictions | None]:
    """Score the kept weights on the test set, which is read here and nowhere else."""
    dataset, loss = experiment.dataset, experiment.loss
    samples = dataset.test or dataset.val
    if samples is None:
        return {}, None
    outputs = predict(experiment.network, samples)
    scores = Scores.of(loss, outputs, samples.labels)
    if not math.isfinite(scores.loss):
        raise _diverged(epoch, config)
    part = "test" if dataset.test else "val"
    probabilities = loss.probabilities(outputs)
    judged = {
        f"{part}/accuracy": scores.accuracy,
        f"{part}/loss": scores.loss,
        f"{part}/top3": metrics.top(3, outputs, samples.labels),
        f"{part}/calibration_error": metrics.calibration_error(probabilities, samples.labels),
        "precision": metrics.precision(scores.confusion),
        "recall": metrics.recall(scores.confusion),
        "f1": metrics.f1(scores.confusion),
        "confusion_matrix": scores.confusion.tolist(),
    }
    return judged, Predictions.of(experiment.network, samples, probabilities)


def _summary(status: str, experiment: Experiment, epochs: int, seconds: float) -> dict[str, Any]:
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
        "best/val/loss": kept.lowest_loss if kept.best else None,
        "best/val/accuracy": kept.highest_accuracy if kept.best else None,
        "epochs": epochs,
        "parameters": len(experiment.network.parameters),
        "weights/sha256": experiment.network.digest(),
        "dataset/sha256": experiment.dataset.sha256,
        "seconds": seconds,
        "confusion_matrix": val.confusion.tolist() if val else None,
        "class_names": list(experiment.dataset.class_names),
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
