"""What there is to tell of a sweep, read from its folder once for all that is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from nn.errors import UserError
from nn.io.files import read_regular_file
from nn.io.paths import relpath
from nn.report import formatting as fmt
from nn.report.coerce import drop_none, epoch_numbers, extract_column, to_finite_float
from nn.report.paths import display_path, join_command, strip_folder
from nn.report.running_time import Interval, RunningTime, read_sessions, trial_intervals
from nn.runs.history import read_history
from nn.runs.reader import read_json
from nn.sweeps.distributions import InvLogUniform, LogNormal, LogUniform, LogUniformValues
from nn.sweeps.schema import Metric
from nn.sweeps.trials import ParamImportances, SweepTrials, read_objective, read_summary

TRIAL_STATES = ("finished", "pruned", "diverged", "failed", "running")
DEFAULT_METRIC = Metric(name="val/accuracy", goal="maximize")
"""What trials are shown by where the sweep names no metric."""
LOG_DISTRIBUTIONS = (LogUniform, LogUniformValues, InvLogUniform, LogNormal)


@dataclass(frozen=True)
class TrialData:
    """A trial, its run and what came of it."""

    number: int
    status: str
    reason: str
    params: Mapping[str, Any]
    value: float | None
    epochs: list[float]
    curve: list[float | None]
    training_seconds: float | None
    test_accuracy: float | None
    val_accuracy: float | None
    datetime_complete: datetime | None
    running_intervals: Sequence[Interval]
    folder: Path


class SweepData:
    """A sweep, told from its folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.study = path, SweepTrials.load(path)
        self.config, self.space = self.study.sweep, self.study.space
        self.metric = self.config.metric or DEFAULT_METRIC
        self.trials = [self._read_trial(each) for each in self.study.trials]

    @property
    def display_name(self) -> str:
        """The sweep's folder."""
        return display_path(self.path)

    @property
    def title(self) -> str:
        """The sweep's name."""
        return self.config.name or self.path.absolute().name

    @cached_property
    def varied_params(self) -> list[str]:
        """The parameters that differ between trials, the most important first."""
        tried = (trial.params for trial in self.trials)
        found: dict[str, set[str]] = {name: set() for name in self.space.parameters}
        for point in tried:
            for name, value in point.items():
                found[name].add(repr(value))
        names = [name for name, values in found.items() if len(values) > 1]
        return sorted(names, key=lambda name: -self.importance.shares.get(name, 0.0))

    @cached_property
    def fixed_params(self) -> dict[str, Any]:
        """The parameters that are the same in all trials."""
        first = self.trials[0].params if self.trials else {}
        return {name: value for name, value in first.items() if name not in self.varied_params}

    def has_log_scale(self, name: str) -> bool:
        """Whether a parameter is drawn by its order of magnitude."""
        return isinstance(self.space.parameters[name], LOG_DISTRIBUTIONS)

    @cached_property
    def importance(self) -> ParamImportances:
        """How much of the metric's variance each parameter explains, as far as can be estimated."""
        return self.study.get_param_importances()

    @cached_property
    def scored_trials(self) -> list[TrialData]:
        """The trials that have a value, in their order."""
        return [trial for trial in self.trials if trial.value is not None]

    @cached_property
    def ranked_trials(self) -> list[TrialData]:
        """The trials that have a value, best first."""
        return sorted(
            self.scored_trials,
            key=lambda trial: self.metric.minimization_sign * (trial.value or 0.0),
        )

    def cumulative_best(self, trials: Sequence[TrialData]) -> list[float]:
        """The best value until each of some trials that have one."""
        found: list[float] = []
        for trial in trials:
            value = trial.value or 0.0
            better = not found or self.metric.is_better(value, found[-1])
            found.append(value if better else found[-1])
        return found

    @property
    def best_trial(self) -> TrialData | None:
        """The best trial."""
        return self.ranked_trials[0] if self.ranked_trials else None

    @cached_property
    def state_counts(self) -> dict[str, int]:
        """How many trials have ended in which way."""
        counted = Counter(trial.status for trial in self.trials)
        return {state: counted[state] for state in TRIAL_STATES if counted[state]}

    @cached_property
    def training_seconds(self) -> float | None:
        """The seconds of training of all trials together."""
        return sum(drop_none([trial.training_seconds for trial in self.trials])) or None

    @cached_property
    def running_time(self) -> RunningTime:
        """The time in which trials ran."""
        return RunningTime(
            interval for trial in self.trials for interval in trial.running_intervals
        )

    def seconds_until_end(self, trial: TrialData) -> float | None:
        """Seconds of the sweep's running time until a trial ended."""
        return (
            None
            if trial.datetime_complete is None or not trial.running_intervals
            else self.running_time.seconds_at(trial.datetime_complete)
        )

    @property
    def pause_text(self) -> str:
        """How long no trial ran between the first start and the last end, in a sentence."""
        lengths = [seconds for _, seconds in self.running_time.pauses]
        if not lengths:
            return ""
        often = "once" if len(lengths) == 1 else f"{len(lengths):,} times"
        return (
            f"The sweep was paused {often}, for {fmt.duration(sum(lengths))} in all: no trial "
            "ran, as between a stop and a resume. Pauses do not count as running time."
        )

    @property
    def metric_text(self) -> str:
        """The metric, and which way is better."""
        way = "lower" if self.metric.minimization_sign > 0 else "higher"
        return f"{self.metric.name}, {way} is better"

    def format_params(self, trial: TrialData) -> str:
        """The parameters of a trial, those that differ between trials."""
        return ", ".join(
            f"{name}={fmt.short_setting(trial.params[name])}"
            for name in self.varied_params
            if name in trial.params
        )

    @property
    def summary_text(self) -> str:
        """The sweep in two sentences."""
        tried = fmt.count(len(self.trials), "trial")
        tried += f" of {fmt.join(self.varied_params)}" if self.varied_params else ""
        if self.best_trial is None:
            return f"{tried}; none has a value of {self.metric.name} yet."
        with_ = f" with {self.format_params(self.best_trial)}" if self.varied_params else ""
        value = fmt.number(self.best_trial.value)
        best = (
            f"The best, number {self.best_trial.number}, reached {self.metric.name} {value}{with_}."
        )
        return f"{tried}. {best}"

    @property
    def notices(self) -> list[str]:
        """What a reader should know before the figures."""
        said = []
        running = self.state_counts.get("running", 0)
        if running:
            left = fmt.count(running, "trial has", "trials have")
            said.append(f"{left} not ended: the sweep is going on, or was stopped.")
        if self.config.metric is None:
            said.append("This sweep names no metric; its trials are shown by val/accuracy.")
        reasons = Counter(trial.reason for trial in self.trials if trial.status == "failed")
        for reason, times in reasons.most_common(3):
            said.append(f"{fmt.count(times, 'trial')} failed: {reason or 'no reason is known.'}")
        return said

    @property
    def importance_text(self) -> str:
        """The most important parameters, in a sentence."""
        if not self.importance.shares:
            return ""
        first, *others = list(self.importance.shares.items())
        trials = fmt.count(self.importance.num_trials, "finished trial")
        told = f"{first[0]} explains {first[1]:.0%} of the differences between {trials}"
        rest = [f"{name} {share:.0%}" for name, share in others[:2] if share >= 0.01]
        return f"{told}, {fmt.join(rest)}." if rest else f"{told}."

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The seed of the search, and the words that are set for all trials."""
        return read_json(self.path, "settings.json")

    @property
    def sweep_yaml(self) -> str:
        """The sweep file as it was."""
        return read_regular_file(self.path, "sweep.yaml", 2**20).decode("utf-8", "replace")

    def reproduce_command(self, trial: TrialData) -> str:
        """The command that runs a trial again."""
        return join_command(["python", "scripts/train.py", f"reproduce={relpath(trial.folder)}"])

    def _read_trial(self, frozen_trial: Any) -> TrialData:
        """Read a trial; its run may not have begun, or may be damaged."""
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
        spent = to_finite_float(summary.get("seconds"))
        whole = frozen_trial.params.keys() == self.space.optuna_distributions.keys()
        return TrialData(
            frozen_trial.number,
            status if status in TRIAL_STATES else "failed",
            strip_folder(str(frozen_trial.user_attrs.get("reason") or ""), self.path),
            self.space.from_optuna(frozen_trial.params) if whole else {},
            value,
            epoch_numbers(history),
            curve,
            spent
            if spent is not None
            else sum(drop_none(extract_column(history, "seconds"))) or None,
            to_finite_float(summary.get("test/accuracy")),
            to_finite_float(summary.get("val/accuracy")),
            frozen_trial.datetime_complete,
            trial_intervals(
                frozen_trial.datetime_start, frozen_trial.datetime_complete, read_sessions(summary)
            ),
            folder,
        )
