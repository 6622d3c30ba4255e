"""Execute one run: train a network from one configuration and record every number.

The command line, `wandb agent`, an offline sweep worker and a resumed run all call `run`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from nn import metrics
from nn.config.schema import Config
from nn.errors import DivergedError, SaveError, TrialPruned
from nn.io.records import FinalScores, Summary
from nn.predictions import Predictions
from nn.runs import environment
from nn.runs.console import RunConsole
from nn.runs.experiment import Experiment, prepare
from nn.runs.profiler import TRACKING, Profiler
from nn.runs.run_directory import RunDirectory
from nn.runs.signals import (
    HANDLED_SIGNALS,
    SignalHandler,
    SignalInterrupt,
    hangs_at_exit,
    interruptible,
    is_child_process,
)
from nn.runs.training_state import TrainingState
from nn.shards import ShardGroup
from nn.tracking.wandb_logger import WandbLogger
from nn.training import EpochResult, EvalResult, HistoryRecord, fit, predict


def run(
    config: Config,
    run_dir: Path,
    resume: bool = False,
    on_epoch_end: Callable[[HistoryRecord], None] = lambda _: None,
    verbose: bool = True,
    signals: Sequence[int] = HANDLED_SIGNALS,
    *,
    pause_epoch: int | None = None,
    defers_offline_run: bool = False,
) -> Summary:
    """Train in a run directory and return the summary.

    Args:
        config: A resolved configuration.
        run_dir: A new directory, or with `resume` that of a run with this configuration.
        resume: Whether to continue from the last checkpoint.
        on_epoch_end: Called with each epoch's history record; may raise `TrialPruned`.
        verbose: Whether to print the progress and the result.
        signals: The signals that interrupt the run.
        pause_epoch: Epoch after which this session ends with the status paused, unless the run has
            ended by then.
        defers_offline_run: Whether an offline W&B run is written later, by `write_offline_run`.
    """
    experiment = prepare(config)
    state = TrainingState(
        experiment.network,
        experiment.optimizer,
        experiment.schedule,
        experiment.weight_selector,
        experiment.rngs,
    )
    config = config.model_copy(update={"shards": experiment.num_shards})
    with (
        interruptible(signals) as signal_handler,
        threadpool_limits(1, "blas"),
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),
        signal_handler.defer_signals(),  # so that a run that has started also records its end
        ShardGroup(
            experiment.num_shards, _count_threads(config), signal_handler.defer_signals
        ) as shard_group,
        RunDirectory.resume(run_dir, config, state, experiment.dataset.sha256)
        if resume
        else RunDirectory.create(
            run_dir, config, environment.collect_environment()
        ) as run_directory,
    ):
        if experiment.num_shards > 1:
            experiment.network.split_batches(shard_group)
        return Runner(
            experiment,
            config,
            run_directory,
            state,
            signal_handler,
            on_epoch_end=on_epoch_end,
            verbose=verbose,
            pause_epoch=pause_epoch,
            defers_offline_run=defers_offline_run,
        ).execute(resume)


class Runner:
    """One session of a run, with everything that watches and records it."""

    def __init__(
        self,
        experiment: Experiment,
        config: Config,
        run_directory: RunDirectory,
        state: TrainingState,
        signal_handler: SignalHandler,
        *,
        on_epoch_end: Callable[[HistoryRecord], None],
        verbose: bool,
        pause_epoch: int | None,
        defers_offline_run: bool,
    ) -> None:
        self.defers_offline_run = defers_offline_run
        self.pause_epoch = pause_epoch if pause_epoch and pause_epoch < config.epochs else None
        self.experiment, self.config, self.state = experiment, config, state
        self.run_directory, self.signal_handler = run_directory, signal_handler
        self.on_epoch_end = on_epoch_end
        self.wandb_logger = WandbLogger(
            experiment.tracking,
            run_directory.path,
            config,
            run_directory.environment,
            experiment.dataset.class_names,
        )
        self.console = RunConsole(config.epochs, experiment.batches, verbose)
        self.last_epoch = 0
        self.profiler = self._create_profiler() if config.profile else None
        self.start_time = time.perf_counter() - state.elapsed_seconds

    def execute(self, resume: bool) -> Summary:
        """Train, then write the result, also when training is interrupted or fails."""
        status, predictions = "crashed", None
        scores: FinalScores = {}
        self.console.show_dataset_notes(self.experiment.dataset.notes)
        self.console.show_header(_format_header(self.experiment, self.config))
        self.run_directory.write_model_summary(self.experiment.network.describe())
        try:
            with self.signal_handler.allow_signals():
                self.wandb_logger.init(
                    self.run_directory.restored_records,
                    resume=resume,
                    defers_offline_run=self.defers_offline_run,
                )
                self.start_time = time.perf_counter() - self.state.elapsed_seconds
                with self.console:
                    is_paused = self._train()
                if not is_paused:
                    self.experiment.weight_selector.restore_weights()
                    scores, predictions = _evaluate_selected_weights(
                        self.experiment, self.state.epoch, self.config
                    )
            status = "paused" if is_paused else "finished"
        except SignalInterrupt:
            self.signal_handler.acknowledge_interrupt()
            status = "interrupted"
            raise
        except DivergedError:
            status = "diverged"
            raise
        except TrialPruned:
            status = "pruned"
            raise
        finally:
            summary = self._finish(status, scores, predictions)
        return summary

    def _train(self) -> bool:
        """Run the epochs until the last one or early stopping; return whether it paused before."""
        experiment, weight_selector = self.experiment, self.experiment.weight_selector
        if weight_selector.should_stop(self.state.epoch):
            return False
        if self._is_pause_due(self.state.epoch):  # the session that got there was killed
            return True
        for result in fit(
            experiment.network,
            experiment.loss,
            experiment.optimizer,
            experiment.schedule,
            experiment.batches,
            experiment.dataset.val,
            lr=self.config.lr,
            epochs=self.config.epochs,
            initial_epoch=self.state.epoch,
        ):
            self.last_epoch, record = result.number, self._build_history_record(result)
            with self.signal_handler.defer_signals():
                self.run_directory.append_history(record)
                if result.is_finite:
                    weight_selector.update(result)
                    self.state.take_snapshot(
                        result.number, self.elapsed_seconds, self.run_directory.history.fingerprint
                    )
                self.wandb_logger.log(record)
            if self.run_directory.is_checkpoint_due:
                self.run_directory.save_checkpoint(self.state, experiment.dataset)
            self.console.show_epoch(result)
            if self.profiler:
                self.profiler.add_epoch(result)
            if not result.is_finite:
                raise _diverged_error(result.number, self.config)
            self.on_epoch_end(record)
            if weight_selector.should_stop(result.number):
                return False
            if self._is_pause_due(result.number):
                return True
        return False

    def _is_pause_due(self, epoch: int) -> bool:
        return self.pause_epoch is not None and self.pause_epoch <= epoch < self.config.epochs

    def _build_history_record(self, result: EpochResult) -> HistoryRecord:
        """Return an epoch's record, every nth time with the validation confusion matrix."""
        record = result.to_history_record()
        confusion_every = self.experiment.tracking.confusion_every
        if result.val and confusion_every and result.number % confusion_every == 0:
            record["val/confusion_matrix"] = result.val.confusion.tolist()
        return record

    def _finish(self, status: str, scores: FinalScores, predictions: Predictions | None) -> Summary:
        """Write the state and the result; an unfinished run returns to its last epoch boundary."""
        experiment, save_error = self.experiment, None
        if status != "finished":
            self.state.restore()
            experiment.weight_selector.restore_weights()
        num_epochs = self.last_epoch or self.state.epoch
        summary = _build_summary(status, experiment, num_epochs, self.elapsed_seconds)
        summary = {**summary, **scores}
        self.run_directory.save_checkpoint(self.state, experiment.dataset)
        if predictions:
            self.run_directory.write_predictions(predictions)
        try:
            self.run_directory.write_summary(summary)
        except SaveError as error:
            save_error = error
        with self.signal_handler.allow_signals():
            self.console.show_summary(summary, self.run_directory.path)
            try:
                self.console.show_wandb_location(self.wandb_logger.finish(summary, predictions))
            finally:
                if self.wandb_logger.hangs_at_exit:
                    hangs_at_exit.set()
            if self.profiler and self.last_epoch:
                self.console.show_profile(self.profiler.table())
        if save_error:
            raise save_error
        return summary

    @property
    def elapsed_seconds(self) -> float:
        """The training time so far, earlier sessions included."""
        return time.perf_counter() - self.start_time

    def _create_profiler(self) -> Profiler:
        """Wrap every part of an epoch, and the tracking after it, with timers."""
        profiler, experiment = Profiler(), self.experiment
        profiler.time_method(experiment.batches, "gather", "batches")
        if experiment.batches.augment:
            profiler.time_method(experiment.batches, "augment", "batches")
        profiler.time_layers(experiment.network)
        profiler.time_method(experiment.loss, "gradient", "loss")
        profiler.time_method(experiment.optimizer, "step", "optimizer")
        for owner, method in (
            (self.run_directory, "append_history"),
            (self.run_directory, "save_checkpoint"),
            (self.state, "take_snapshot"),
            (self.wandb_logger, "log"),
            (self.console, "show_epoch"),
        ):
            profiler.time_method(owner, method, TRACKING)
        return profiler


def _count_threads(config: Config) -> int:
    """Return the number of threads; auto means one per core, unless other runs use the cores."""
    if config.threads != "auto":
        return config.threads
    return 1 if is_child_process() else environment.count_cores()


def _diverged_error(epoch: int, config: Config) -> DivergedError:
    return DivergedError(
        f"Training diverged in epoch {epoch}: the loss is not finite. "
        f"Try a learning rate below lr={config.lr:g}."
    )


def _evaluate_selected_weights(
    experiment: Experiment, epoch: int, config: Config
) -> tuple[FinalScores, Predictions | None]:
    """Evaluate the selected weights on the test set, or on the validation set if there is none.

    The test set is read here and nowhere else.
    """
    dataset, loss = experiment.dataset, experiment.loss
    samples = dataset.test or dataset.val
    if samples is None:
        return {}, None
    outputs = predict(experiment.network, samples)
    result = EvalResult.from_outputs(loss, outputs, samples.labels)
    if not math.isfinite(result.loss):
        raise _diverged_error(epoch, config)
    probabilities = loss.probabilities(outputs)
    top3 = metrics.top_k_accuracy(3, outputs, samples.labels)
    calibration_error = metrics.expected_calibration_error(probabilities, samples.labels)
    scores: FinalScores = {
        "val/accuracy": result.accuracy,
        "val/loss": result.loss,
        "val/top3": top3,
        "val/calibration_error": calibration_error,
    }
    if dataset.test:
        scores = {
            "test/accuracy": result.accuracy,
            "test/loss": result.loss,
            "test/top3": top3,
            "test/calibration_error": calibration_error,
        }
    scores["precision"] = metrics.precision(result.confusion)
    scores["recall"] = metrics.recall(result.confusion)
    scores["f1"] = metrics.f1(result.confusion)
    scores["confusion_matrix"] = result.confusion.tolist()
    return scores, Predictions.from_network(experiment.network, samples, probabilities)


def _build_summary(
    status: str, experiment: Experiment, num_epochs: int, elapsed_seconds: float
) -> Summary:
    """Summarize a run as far as it got; the test scores are added when it finishes."""
    selector = experiment.weight_selector
    best, selected = selector.best_epoch, selector.selected_epoch
    val = selected.val if selected else None
    return {
        "status": status,
        "test/accuracy": None,
        "test/loss": None,
        "val/accuracy": val.accuracy if val else None,
        "val/loss": val.loss if val else None,
        "best/epoch": best.number if best else None,
        "best/val/loss": selector.lowest_val_loss if best else None,
        "best/val/accuracy": selector.highest_val_accuracy if best else None,
        "epochs": num_epochs,
        "num_parameters": len(experiment.network.parameters),
        "weights/sha256": experiment.network.digest(),
        "dataset/sha256": experiment.dataset.sha256,
        "seconds": elapsed_seconds,
        "confusion_matrix": val.confusion.tolist() if val else None,
        "class_names": list(experiment.dataset.class_names),
    }


def _format_header(experiment: Experiment, config: Config) -> str:
    """Format the dataset, the sizes of its splits, the model and the optimizer."""
    dataset, choices = experiment.dataset, config.choices
    splits = [("training", dataset.train), ("validation", dataset.val), ("test", dataset.test)]
    counts = ", ".join(f"{len(samples):,} {split}" for split, samples in splits if samples)
    shards = ""
    if parallel := experiment.network.data_parallel:
        shards = f", {experiment.num_shards} shards on {parallel.group.num_threads} threads"
    return (
        f"{choices['dataset']}: {counts} samples\n"
        f"{choices['model']}, {choices['optimizer']} with lr={config.lr:g}{shards}:\n"
        f"{experiment.network.layer_table()}"
    )
