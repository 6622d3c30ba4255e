"""Data and text of a sweep's report, read from its directory once for all output formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from nn.errors import UserError
from nn.io.files import read_regular_file
from nn.io.serialization import JsonObject
from nn.report import formatting as fmt
from nn.report.coerce import drop_none, epoch_numbers, extract_column, to_finite_float
from nn.report.paths import display_path, strip_folder
from nn.report.run_data import format_reproduce_command
from nn.report.running_time import Interval, RunningTime, read_sessions, trial_intervals
from nn.runs.history import read_history
from nn.runs.reader import read_config, read_json
from nn.sweeps.distributions import InvLogUniform, LogNormal, LogUniform, LogUniformValues
from nn.sweeps.schema import Metric
from nn.sweeps.space import Point
from nn.sweeps.trials import ParamImportances, SweepTrials, read_objective, read_summary

TRIAL_STATES = ("finished", "pruned", "diverged", "failed", "running")
DEFAULT_METRIC = Metric(name="val/accuracy", goal="maximize")
"""Ranks the trials of a sweep that defines no metric."""
LOG_DISTRIBUTIONS = (LogUniform, LogUniformValues, InvLogUniform, LogNormal)
"""Distributions whose parameters are plotted on a logarithmic axis."""


@dataclass(frozen=True, kw_only=True)
class TrialData:
    """A trial with its parameters, its objective value and the records of its run."""

    number: int
    status: str
    reason: str  # of a failure
    params: Point  # empty while the point is incomplete
    value: float | None  # of the objective
    epochs: list[float]
    curve: list[float | None]  # the metric by epoch
    training_seconds: float | None
    test_accuracy: float | None
    val_accuracy: float | None
    datetime_complete: datetime | None
    running_intervals: Sequence[Interval]
    folder: Path


class SweepData:
    """The trials of a sweep and the sentences that describe them, lazily computed."""

    def __init__(self, path: Path) -> None:
        self.path, self.study = path, SweepTrials.load(path)
        self.config, self.space = self.study.sweep, self.study.space
        self.metric = self.config.metric or DEFAULT_METRIC
        self.trials = [self._read_trial(index) for index in range(len(self.study.trials))]

    @property
    def display_name(self) -> str:
        """The sweep directory, shortened for display."""
        return display_path(self.path)

    @property
    def title(self) -> str:
        """The name in the sweep file, or else the directory's."""
        return self.config.name or self.path.absolute().name

    @cached_property
    def varied_params(self) -> list[str]:
        """Parameters that differ between trials, most important first."""
        distinct: dict[str, set[str]] = {name: set() for name in self.space.parameters}
        for trial in self.trials:
            for name, value in trial.params.items():
                distinct[name].add(repr(value))
        names = [name for name, values in distinct.items() if len(values) > 1]
        return sorted(names, key=lambda name: -self.importance.shares.get(name, 0.0))

    @cached_property
    def fixed_params(self) -> Point:
        """Parameters that have the same value in all trials."""
        first = self.trials[0].params if self.trials else {}
        return {name: value for name, value in first.items() if name not in self.varied_params}

    def has_log_scale(self, name: str) -> bool:
        """Whether a parameter is sampled on a logarithmic scale."""
        return isinstance(self.space.parameters[name], LOG_DISTRIBUTIONS)

    @cached_property
    def importance(self) -> ParamImportances:
        """Parameter importances by fANOVA; empty if there are too few trials."""
        return self.study.get_param_importances()

    @cached_property
    def scored_trials(self) -> list[TrialData]:
        """Trials with an objective value, by number."""
        return [trial for trial in self.trials if trial.value is not None]

    @cached_property
    def ranked_trials(self) -> list[TrialData]:
        """Trials with an objective value, best first."""
        return sorted(
            self.scored_trials,
            key=lambda trial: self.metric.minimization_sign * (trial.value or 0.0),
        )

    def cumulative_best(self, trials: Sequence[TrialData]) -> list[float]:
        """Return the best value so far after each of these trials."""
        best: list[float] = []
        for trial in trials:
            value = trial.value or 0.0
            is_better = not best or self.metric.is_better(value, best[-1])
            best.append(value if is_better else best[-1])
        return best

    @property
    def best_trial(self) -> TrialData | None:
        """The trial with the best objective value, None if no trial has one."""
        return self.ranked_trials[0] if self.ranked_trials else None

    @cached_property
    def state_counts(self) -> dict[str, int]:
        """The number of trials in each state that occurs."""
        counted = Counter(trial.status for trial in self.trials)
        return {state: counted[state] for state in TRIAL_STATES if counted[state]}

    @cached_property
    def training_seconds(self) -> float | None:
        """Training time in seconds, summed over all trials."""
        return sum(drop_none([trial.training_seconds for trial in self.trials])) or None

    @cached_property
    def running_time(self) -> RunningTime:
        """The sweep's running time, during which at least one trial ran."""
        return RunningTime(
            interval for trial in self.trials for interval in trial.running_intervals
        )

    def seconds_until_end(self, trial: TrialData) -> float | None:
        """Return the running time of the sweep at which a trial ended, in seconds."""
        return (
            None
            if trial.datetime_complete is None or not trial.running_intervals
            else self.running_time.seconds_at(trial.datetime_complete)
        )

    @property
    def pause_text(self) -> str:
        """The number and total length of the pauses; empty if there was none."""
        lengths = [seconds for _, seconds in self.running_time.pauses]
        if not lengths:
            return ""
        times = "once" if len(lengths) == 1 else f"{len(lengths):,} times"
        return (
            f"The sweep was paused {times}, for {fmt.duration(sum(lengths))} in total. Pauses, "
            "such as between a stop and a resume, do not count as running time."
        )

    @property
    def metric_text(self) -> str:
        """The metric and its direction."""
        better = "lower" if self.metric.minimization_sign > 0 else "higher"
        return f"{self.metric.name} ({better} is better)"

    def format_params(self, trial: TrialData) -> str:
        """Return `name=value, ...` for the parameters that differ between trials."""
        return ", ".join(
            f"{name}={fmt.short_setting(trial.params[name])}"
            for name in self.varied_params
            if name in trial.params
        )

    @property
    def summary_text(self) -> str:
        """One or two sentences: the search space and the best trial."""
        trials = fmt.count(len(self.trials), "trial")
        trials += f" over {fmt.join(self.varied_params)}" if self.varied_params else ""
        if self.best_trial is None:
            return f"{trials}; none has reported {self.metric.name} yet."
        params = f", with {self.format_params(self.best_trial)}" if self.varied_params else ""
        value = fmt.number(self.best_trial.value)
        number, name = self.best_trial.number, self.metric.name
        return f"{trials}. Trial {number} reached the best {name}, {value}{params}."

    @property
    def notices(self) -> list[str]:
        """Warnings shown above the report: unfinished and failed trials, a missing metric."""
        notices = []
        running = self.state_counts.get("running", 0)
        if running:
            unfinished = fmt.count(running, "trial is", "trials are")
            notices.append(f"{unfinished} unfinished: the sweep is still running or was stopped.")
        if self.config.metric is None:
            notices.append(
                f"This sweep defines no metric; trials are ranked by {DEFAULT_METRIC.name}."
            )
        reasons = Counter(trial.reason for trial in self.trials if trial.status == "failed")
        for reason, times in reasons.most_common(3):
            notices.append(f"{fmt.count(times, 'trial')} failed: {reason or 'unknown reason.'}")
        return notices

    @property
    def importance_text(self) -> str:
        """The three most important parameters with their shares; empty without an estimate."""
        if not self.importance.shares:
            return ""
        most_important, *others = self.importance.shares.items()
        shown = [most_important, *(other for other in others[:2] if other[1] >= 0.01)]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in shown)
        trials = fmt.count(self.importance.num_trials, "finished trial")
        return f"{shares} (fANOVA, {trials})."

    @cached_property
    def settings(self) -> JsonObject:
        """The seed of the sampler and the overrides that apply to all trials."""
        return read_json(self.path, "settings.json")

    @property
    def sweep_yaml(self) -> str:
        """The text of the sweep file."""
        return read_regular_file(self.path, "sweep.yaml", 2**20).decode("utf-8", "replace")

    def reproduce_command(self, trial: TrialData) -> str | None:
        """Return the shell command that repeats a trial's run, or None if it has not finished."""
        if trial.status != "finished":
            return None
        config: JsonObject = {}
        with suppress(UserError):  # the run is damaged or on another machine
            config = read_config(trial.folder)
        return format_reproduce_command(trial.folder, config)

    def _read_trial(self, index: int) -> TrialData:
        """Read a trial and its run, which may be missing or damaged."""
        frozen_trial = self.study.trials[index]
        folder = self.study.get_trial_dir(frozen_trial.number)
        status = str(frozen_trial.user_attrs.get("status", "running"))
        summary = read_summary(frozen_trial, folder)
        try:
            history = read_history(folder)
        except UserError:
            history = []
        curve = extract_column(history, self.metric.name)
        value = to_finite_float(frozen_trial.user_attrs.get("objective"))
        if self.config.metric is None and status in ("finished", "pruned"):
            value = read_objective(self.metric, folder)
        seconds = to_finite_float(summary.get("seconds"))
        is_complete = frozen_trial.params.keys() == self.space.optuna_distributions.keys()
        return TrialData(
            number=frozen_trial.number,
            status=status if status in TRIAL_STATES else "failed",
            reason=strip_folder(str(frozen_trial.user_attrs.get("reason") or ""), self.path),
            params=self.space.from_optuna(frozen_trial.params) if is_complete else {},
            value=value,
            epochs=epoch_numbers(history),
            curve=curve,
            training_seconds=seconds
            if seconds is not None
            else sum(drop_none(extract_column(history, "seconds"))) or None,
            test_accuracy=to_finite_float(summary.get("test/accuracy")),
            val_accuracy=to_finite_float(summary.get("val/accuracy")),
            datetime_complete=frozen_trial.datetime_complete,
            running_intervals=trial_intervals(
                frozen_trial.datetime_start, frozen_trial.datetime_complete, read_sessions(summary)
            ),
            folder=folder,
        )
