"""The sweep runner: assigns trials to worker processes and records their results."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait

import numpy as np

from nn.errors import SweepError
from nn.runs.run_directory import delete_checkpoints
from nn.runs.signals import BoundedSignalHandler
from nn.sweeps.console import BestTrial, RunningTrial, SweepConsole, SweepProgress
from nn.sweeps.editions import Edition
from nn.sweeps.schema import Metric, SweepConfig
from nn.sweeps.study import Budget, SweepStudy
from nn.sweeps.trial_record import TrialUserAttrs, is_paused
from nn.sweeps.trials import STOP_REASON, Control
from nn.sweeps.worker import (
    Decision,
    EpochMessage,
    RestartMessage,
    ResultMessage,
    TrialRequest,
    WorkerMessage,
)
from nn.sweeps.worker_pool import Worker, WorkerPool

SYNC_INTERVAL_SECONDS = 1.0
"""Seconds between two reads of what other machines and commands have done."""
MAX_CRASHES_PER_TRIAL = 2
"""Number of worker crashes after which a trial is left for the next resume to retry."""
MAX_CONSECUTIVE_FAILURES = 3
"""Number of external failures, without a success in between, that stops the sweep."""


class SweepRunner:
    """Loop that keeps a pool of workers busy with a study's trials."""

    def __init__(
        self,
        study: SweepStudy,
        pool: WorkerPool,
        console: SweepConsole,
        signal_handler: BoundedSignalHandler,
        *,
        budget: Budget,
        timeout_seconds: float | None,
        first_edition: Edition,
        tracking_overrides: Sequence[str],
    ) -> None:
        self.study, self.pool = study, pool
        self._budget, self.first_edition = budget, first_edition
        self.tracking_overrides = tracking_overrides
        self.console, self.signal_handler = console, signal_handler
        self.resume_queue = deque(study.reclaim_stale_trials(retry_failed=True))
        self.start_time, self.last_sync_time = time.monotonic(), -math.inf
        self.end_time = self.start_time + (math.inf if timeout_seconds is None else timeout_seconds)
        self.metric = self.sweep.metric
        self.best: BestTrial | None = None
        self.open_trials: set[int] = set()
        """Numbers of the trials whose objective may still change."""
        self.num_compared = 0  # trials that have been compared at least once
        self.is_target_reached = False
        self.shown_control: Control = "running"
        self.num_ended = 0  # on this machine
        self.num_consecutive_failures = 0
        self.num_idle_crashes = 0  # since a worker last sent a message
        self.crash_counts: Counter[int] = Counter()
        self.without_checkpoints: set[int] = set()  # paused trials that are unlikely to continue
        self._update_best()

    @property
    def sweep(self) -> SweepConfig:
        """The sweep file, which another machine may edit."""
        return self.study.sweep

    @property
    def budget(self) -> Budget:
        """The limits of the search: the requested ones, or run_cap in the sweep file."""
        max_runs = None if self._budget.max_points else self.sweep.run_cap
        is_timed_out = time.monotonic() >= self.end_time
        return replace(self._budget, max_runs=max_runs, is_timed_out=is_timed_out)

    @property
    def running_trials(self) -> list[RunningTrial]:
        """The trials that this machine's workers run."""
        return [worker.trial for worker in self.pool.workers if worker.trial]

    @property
    def stop_reason(self) -> str:
        """A sentence on why no more trials are started, or an empty string if max_trials is why."""
        if self.study.control == "stopped":
            return "The sweep was stopped; --resume continues it."
        if self.is_target_reached and self.sweep.metric:
            return f"The target {self.sweep.metric.target:g} has been reached."
        is_promoting = self.study.find_promotion() is not None
        if self.study.is_exhausted() and not (is_promoting or self.study.failed_trials):
            return "Every point of the grid has been tried."
        if self.budget.is_timed_out:
            return "The time is up."
        if self.study.is_exhausted(Budget(max_epochs=self._budget.max_epochs)):
            return f"The trials have used up {self._budget.max_epochs} epochs."
        return ""

    @property
    def progress(self) -> SweepProgress:
        """The progress to display."""
        # run_cap counts trials, of which points have an unknown number if they race
        budget = self.budget
        run_cap = budget.max_runs if self.study.replicates == 1 else None
        limits = [
            limit for limit in (budget.max_points, run_cap, self.study.num_grid_points) if limit
        ]
        return SweepProgress(
            running_trials=self.running_trials,
            num_ended=self.num_ended,
            total_points=min(limits, default=None),
            best=self.best,
            start_time=self.start_time,
        )

    def run(self) -> None:
        """Run trials until none is left to start; signals are handled only while it waits."""
        while True:
            with self.signal_handler.defer_signals():
                self._sync()
                self._assign_trials()
                if not self.running_trials and not self._is_waiting:
                    self.study.refresh()  # a trial may have been queued meanwhile
                    if self.study.control == "stopped" or not self._has_next:
                        break
                self.console.show_progress(self.study, self.progress)
            workers_by_connection = {worker.connection: worker for worker in self.pool.workers}
            sentinels = [worker.process.sentinel for worker in self.pool.workers]
            ready = wait([*workers_by_connection, *sentinels], timeout=0.25)
            with self.signal_handler.defer_signals():
                for connection in ready:
                    if isinstance(connection, Connection):
                        self._receive_message(workers_by_connection[connection])

        self._write_offline_runs()

    def _write_offline_runs(self) -> None:
        """Wait until all trials have offline W&B runs, also those of a sweep that was killed."""
        offline_runs = self.pool.offline_runs
        for trial in self.study.trials:
            has_ended = trial.state.is_finished() or is_paused(trial)
            trial_dir = self.study.get_trial_dir(trial.number)
            if has_ended and trial_dir not in offline_runs.requested:
                offline_runs.add(trial_dir)
        offline_runs.wait(math.inf)
        if missing := offline_runs.missing:
            self.console.print_missing_offline_runs(missing)

    @property
    def _is_waiting(self) -> bool:
        """Whether there may be more to do once other machines are done, or the sweep is resumed."""
        if self.study.control == "stopped":
            return bool(self.resume_queue)  # whose trials stop at the next sync
        is_paused = self.study.control == "paused" and (self.resume_queue or self._has_next)
        if is_paused or self.study.remote_trials:
            return True
        return not self.is_target_reached and self.study.is_waiting_for_promotion(self.budget)

    @property
    def _has_next(self) -> bool:
        """Whether there is a trial to start now, queued or not."""
        if self.study.queued_trials:
            return True
        budget = self.budget
        return not self.is_target_reached and (
            not self.study.is_exhausted(budget)
            or self.study.find_paused_trial(budget) is not None
            or self.study.find_promotion(budget) is not None
        )

    def _assign_trials(self) -> None:
        """Replace dead workers and start trials until every worker is busy or none is left."""
        for worker in list(self.pool.workers):
            if not worker.process.is_alive():
                self.pool.remove_worker(worker)
                self._handle_crash(worker)
        while (number := self._next_trial_number()) is not None:
            self._start_trial(number)

    def _sync(self) -> None:
        """Read what other machines and commands have done, at most once per interval.

        Stale trials are claimed, and trials stop or pause as requested.
        """
        if time.monotonic() - self.last_sync_time <= SYNC_INTERVAL_SECONDS:
            return
        self.study.heartbeat.progress = {
            str(trial.number): [trial.epoch, trial.value] for trial in self.running_trials
        }
        self.resume_queue += self.study.reclaim_stale_trials()
        if self.study.control != self.shown_control:
            self.shown_control = self.study.control
            self.console.print_control(self.study)
        self._update_best()
        for number in [*self.resume_queue]:
            if self._decide(number) == "prune":
                self.resume_queue.remove(number)
                self._handle_trial_end(RunningTrial(number), ResultMessage("pruned"))
        for worker in self.pool.workers:
            if worker.trial and not worker.trial.is_prunable:
                decision = self._decide(worker.trial.number)
                if decision not in ("continue", worker.trial.decision):
                    worker.trial.decision = decision
                    worker.send(decision)
        self.last_sync_time = time.monotonic()

    def _decide(self, number: int) -> Decision:
        """Return what a trial should do next by request of the user."""
        if self.study.is_stop_requested(number):
            return "prune"
        return "pause" if self.study.control == "paused" else "continue"

    def _next_trial_number(self) -> int | None:
        """Return the number of the next trial, or None if there is none or no worker is free."""
        if len(self.running_trials) == self.pool.size or self.study.control != "running":
            return None
        if self.resume_queue:
            return self.resume_queue.popleft()
        if not self._has_next:
            return None
        return self.study.ask(self.budget, only_queued=self.is_target_reached)

    def _start_trial(self, number: int) -> None:
        """Send a trial to an idle worker."""
        point = self.study.get_recorded_point(number)
        edition = self.study.get_edition(number) or self.first_edition
        attrs = TrialUserAttrs.of(self.study.trials[number])
        seed = self.study.get_seed(number) if attrs.replicate else None
        overrides = edition.fixed_overrides.add_point(point, seed)
        is_prunable = self.study.is_pruning and not attrs.replicate
        request = TrialRequest(
            number,
            point,
            (*self.tracking_overrides, *edition.sweep.tracking_overrides, *overrides),
            self.study.get_trial_dir(number),
            replicate=attrs.replicate,
            replicate_of=attrs.replicate_of,
            metric_name=self.sweep.metric.name if self.sweep.metric else None,
            pause_epoch=attrs.pause_epoch,
            paused_epochs=attrs.epochs or 0,
            is_prunable=is_prunable,
        )
        trial = RunningTrial(number, is_prunable=is_prunable, replicate=attrs.replicate)
        worker = self.pool.get_idle_worker()
        worker.trial, worker.was_used = trial, True
        worker.send(request)

    def _receive_message(self, worker: Worker) -> None:
        """Receive and handle a message from a worker, unless it has died."""
        try:
            message: WorkerMessage = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            return
        self.num_idle_crashes = 0
        trial = worker.trial
        assert trial is not None
        if isinstance(message, EpochMessage):
            self._handle_epoch(worker, trial, message)
        elif isinstance(message, RestartMessage):
            self.console.print_restart(trial, message)
        else:
            worker.trial = None
            self._handle_trial_end(trial, message)

    def _handle_epoch(self, worker: Worker, trial: RunningTrial, message: EpochMessage) -> None:
        trial.epoch, value = message.epoch, message.value
        if value is not None:
            trial.value = value
        should_prune = False
        if value is not None and self.study.is_pruning and not trial.replicate:
            should_prune = self.study.should_prune(trial.number, trial.epoch, value)
        elif value is not None and self.study.needs_intermediate_values:
            self.study.report(trial.number, trial.epoch, value)
        # the sweep may have been edited since the trial began, so early_terminate does not tell
        if trial.is_prunable or should_prune:
            worker.send("prune" if should_prune else self._decide(trial.number))

    def _handle_trial_end(self, trial: RunningTrial, message: ResultMessage) -> None:
        if message.status == "interrupted":  # by request of the user
            self.resume_queue.append(trial.number)
            return
        if message.status == "paused":
            self._pause_at_rung(trial)
            return
        if message.status == "pruned" and self.study.is_stop_requested(trial.number):
            message = ResultMessage("pruned", STOP_REASON)
        value = self.study.tell(
            trial.number, message.status, message.reason, message.is_external, trial.epoch
        )
        self.pool.offline_runs.add(self.study.get_trial_dir(trial.number))
        self.num_ended += 1
        self._update_best()
        self.console.print_trial_result(self.study, trial, message, value)
        self._check_consecutive_failures(message)

    def _pause_at_rung(self, trial: RunningTrial) -> None:
        value = self.study.pause(trial.number)
        if value is None and self.sweep.metric:
            reason = f"it has no {self.sweep.metric.name} by which to compare it with others"
            self._handle_trial_end(trial, ResultMessage("failed", reason))
            return
        self.num_consecutive_failures = 0
        self._update_best()
        trial.epoch = TrialUserAttrs.of(self.study.trials[trial.number]).epochs or trial.epoch
        self.console.print_trial_result(self.study, trial, ResultMessage("paused"), value)
        surplus = self.study.find_surplus_checkpoints()
        for number in surplus - self.without_checkpoints:
            delete_checkpoints(self.study.get_trial_dir(number))
        self.without_checkpoints = surplus

    def _check_consecutive_failures(self, message: ResultMessage) -> None:
        """Raise `SweepError` after consecutive failures, external or right from the start."""
        if message.status != "failed":
            self.num_consecutive_failures = 0
            return
        all_failed = self.num_consecutive_failures + 1 == self.num_ended
        self.num_consecutive_failures += message.is_external or all_failed
        if self.num_consecutive_failures == MAX_CONSECUTIVE_FAILURES:
            which = "first" if all_failed else "last"
            raise SweepError(
                f"The {which} {MAX_CONSECUTIVE_FAILURES} trials all failed: {message.reason}"
            )

    def _handle_crash(self, worker: Worker) -> None:
        """Handle the death of a worker: retry its trial or record the trial as failed."""
        trial = worker.trial
        if trial is None:
            self.num_idle_crashes += 1
            if self.num_idle_crashes > 2 * self.pool.size:
                raise SweepError(
                    "Worker processes die before they run a trial; check that there is enough "
                    "memory."
                )
            return
        self.crash_counts[trial.number] += 1
        reason = f"its process died with exit code {worker.process.exitcode}"
        is_first_crash = self.crash_counts[trial.number] < MAX_CRASHES_PER_TRIAL
        if is_first_crash and self.study.can_retry(trial.number):
            self.study.tell(trial.number, "failed", reason, is_external=True)
            self.study.retry_trial(trial.number)
            self.resume_queue.appendleft(trial.number)
        else:
            self._handle_trial_end(trial, ResultMessage("failed", reason, is_external=True))

    def _update_best(self) -> None:
        """Update the best trial, and whether the metric's target has been reached."""
        metric = self.sweep.metric
        if metric != self.metric:  # the sweep was edited
            self.metric, self.best = metric, None
            self.num_compared, self.is_target_reached = 0, False
        if metric is None:
            return
        trials = self.study.trials
        self.open_trials.update(range(self.num_compared, len(trials)))
        self.num_compared = len(trials)
        for trial in [trials[number] for number in sorted(self.open_trials)]:
            if trial.state.is_finished():
                self.open_trials.remove(trial.number)
            value = TrialUserAttrs.of(trial).objective
            if value is not None:
                if self.best is None or metric.is_better(value, self.best.value):
                    self.best = BestTrial(value, trial.number)
                if self.study.replicates == 1 and metric.reaches_target(value):
                    self.is_target_reached = True
        if self.study.replicates > 1:
            self._update_best_point(metric)

    def _update_best_point(self, metric: Metric) -> None:
        """Update the best point by the mean over its seeds, and whether one reaches the target."""
        sign = metric.minimization_sign
        values = self.study.replicate_values(self.study.points)[:, : self.study.replicates]
        for mean in values[np.isfinite(values).all(1)].mean(1):
            self.is_target_reached |= metric.reaches_target(sign * float(mean))
        if ranked := self.study.rank_points():
            self.best = BestTrial(ranked[0].mean, ranked[0].point.number)
