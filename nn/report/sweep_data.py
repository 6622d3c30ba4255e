"""What there is to tell of a sweep, read from its folder once for all that is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from nn.errors import Mistake
from nn.io.files import read_plain
from nn.io.paths import short
from nn.report import formatting as fmt
from nn.report.coerce import column, known, number, numbered
from nn.report.paths import shell_line, shown, without_folder
from nn.report.running_time import Interval, RunningTime, intervals, sessions
from nn.runs.history import records
from nn.runs.reader import read_json
from nn.sweeps.distributions import InvLogUniform, LogNormal, LogUniform, LogUniformValues
from nn.sweeps.schema import Metric
from nn.sweeps.trials import Importance, Trials, objective, read_summary

STATES = ("finished", "pruned", "diverged", "failed", "running")
INSTEAD = Metric(name="val/accuracy", goal="maximize")
"""What trials are shown by where the sweep names no metric."""
LOGARITHMIC = (LogUniform, LogUniformValues, InvLogUniform, LogNormal)


@dataclass(frozen=True)
class Trial:
    """A trial, its run and what came of it."""

    number: int
    status: str
    reason: str
    point: Mapping[str, Any]
    value: float | None
    epochs: list[float]
    curve: list[float | None]
    seconds: float | None
    accuracy: float | None
    val_accuracy: float | None
    ended: datetime | None
    ran: Sequence[Interval]
    folder: Path


class SweepStory:
    """A sweep, told from its folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.study = path, Trials.read(path)
        self.sweep, self.space = self.study.sweep, self.study.space
        self.metric = self.sweep.metric or INSTEAD
        self.trials = [self._trial(each) for each in self.study.all]

    @property
    def name(self) -> str:
        """The sweep's folder."""
        return shown(self.path)

    @property
    def title(self) -> str:
        """The sweep's name."""
        return self.sweep.name or self.path.absolute().name

    @cached_property
    def varied(self) -> list[str]:
        """The parameters that differ between trials, the most important first."""
        tried = (trial.point for trial in self.trials)
        found: dict[str, set[str]] = {name: set() for name in self.space.parameters}
        for point in tried:
            for name, value in point.items():
                found[name].add(repr(value))
        names = [name for name, values in found.items() if len(values) > 1]
        return sorted(names, key=lambda name: -self.importance.shares.get(name, 0.0))

    @cached_property
    def fixed(self) -> dict[str, Any]:
        """The parameters that are the same in all trials."""
        first = self.trials[0].point if self.trials else {}
        return {name: value for name, value in first.items() if name not in self.varied}

    def logarithmic(self, name: str) -> bool:
        """Whether a parameter is drawn by its order of magnitude."""
        return isinstance(self.space.parameters[name], LOGARITHMIC)

    @cached_property
    def importance(self) -> Importance:
        """How much of the metric's variance each parameter explains, as far as can be estimated."""
        return self.study.importance()

    @cached_property
    def scored(self) -> list[Trial]:
        """The trials that have a value, in their order."""
        return [trial for trial in self.trials if trial.value is not None]

    @cached_property
    def ranked(self) -> list[Trial]:
        """The trials that have a value, best first."""
        return sorted(self.scored, key=lambda trial: self.metric.sign * (trial.value or 0.0))

    def best_so_far(self, trials: Sequence[Trial]) -> list[float]:
        """The best value until each of some trials that have one."""
        found: list[float] = []
        for trial in trials:
            value = trial.value or 0.0
            better = not found or self.metric.better(value, found[-1])
            found.append(value if better else found[-1])
        return found

    @property
    def best(self) -> Trial | None:
        """The best trial."""
        return self.ranked[0] if self.ranked else None

    @cached_property
    def states(self) -> dict[str, int]:
        """How many trials have ended in which way."""
        counted = Counter(trial.status for trial in self.trials)
        return {state: counted[state] for state in STATES if counted[state]}

    @cached_property
    def seconds(self) -> float | None:
        """The seconds of training of all trials together."""
        return sum(known([trial.seconds for trial in self.trials])) or None

    @cached_property
    def time(self) -> RunningTime:
        """The time in which trials ran."""
        return RunningTime(interval for trial in self.trials for interval in trial.ran)

    def after(self, trial: Trial) -> float | None:
        """Seconds of the sweep's running time until a trial ended."""
        return None if trial.ended is None or not trial.ran else self.time.at(trial.ended)

    @property
    def paused(self) -> str:
        """How long no trial ran between the first start and the last end, in a sentence."""
        lengths = [seconds for _, seconds in self.time.pauses]
        if not lengths:
            return ""
        often = "once" if len(lengths) == 1 else f"{len(lengths):,} times"
        return (
            f"The sweep was paused {often}, for {fmt.duration(sum(lengths))} in all: no trial "
            "ran, as between a stop and a resume. Pauses do not count as running time."
        )

    @property
    def shown_metric(self) -> str:
        """The metric, and which way is better."""
        way = "lower" if self.metric.sign > 0 else "higher"
        return f"{self.metric.name}, {way} is better"

    def spelled(self, trial: Trial) -> str:
        """The parameters of a trial, those that differ between trials."""
        return ", ".join(
            f"{name}={fmt.brief(trial.point[name])}" for name in self.varied if name in trial.point
        )

    @property
    def lead(self) -> str:
        """The sweep in two sentences."""
        tried = fmt.count(len(self.trials), "trial")
        tried += f" of {fmt.listed(self.varied)}" if self.varied else ""
        if self.best is None:
            return f"{tried}; none has a value of {self.metric.name} yet."
        with_ = f" with {self.spelled(self.best)}" if self.varied else ""
        value = fmt.figure(self.best.value)
        best = f"The best, number {self.best.number}, reached {self.metric.name} {value}{with_}."
        return f"{tried}. {best}"

    @property
    def notices(self) -> list[str]:
        """What a reader should know before the figures."""
        said = []
        running = self.states.get("running", 0)
        if running:
            left = fmt.count(running, "trial has", "trials have")
            said.append(f"{left} not ended: the sweep is going on, or was stopped.")
        if self.sweep.metric is None:
            said.append("This sweep names no metric; its trials are shown by val/accuracy.")
        reasons = Counter(trial.reason for trial in self.trials if trial.status == "failed")
        for reason, times in reasons.most_common(3):
            said.append(f"{fmt.count(times, 'trial')} failed: {reason or 'no reason is known.'}")
        return said

    @property
    def finding(self) -> str:
        """The most important parameters, in a sentence."""
        if not self.importance.shares:
            return ""
        first, *others = list(self.importance.shares.items())
        trials = fmt.count(self.importance.num_trials, "finished trial")
        told = f"{first[0]} explains {first[1]:.0%} of the differences between {trials}"
        rest = [f"{name} {share:.0%}" for name, share in others[:2] if share >= 0.01]
        return f"{told}, {fmt.listed(rest)}." if rest else f"{told}."

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The seed of the search, and the words that are set for all trials."""
        return read_json(self.path, "settings.json")

    @property
    def text(self) -> str:
        """The sweep file as it was."""
        return read_plain(self.path, "sweep.yaml", 2**20).decode("utf-8", "replace")

    def repeat(self, trial: Trial) -> str:
        """The command that runs a trial again."""
        return shell_line(["python", "scripts/train.py", f"repeat={short(trial.folder)}"])

    def _trial(self, kept: Any) -> Trial:
        """Read a trial; its run may not have begun, or may be damaged."""
        folder = self.study.path(kept.number)
        status = str(kept.user_attrs.get("status", "running"))
        summary = read_summary(kept, folder)
        try:
            history = records(folder)
        except Mistake:
            history = []
        curve = column(history, self.metric.name)
        value = number(kept.user_attrs.get("objective"))
        if self.sweep.metric is None and status in ("finished", "pruned"):
            value = objective(self.metric, folder)
        spent = number(summary.get("seconds"))
        whole = kept.params.keys() == self.space.optuna.keys()
        return Trial(
            kept.number,
            status if status in STATES else "failed",
            without_folder(str(kept.user_attrs.get("reason") or ""), self.path),
            self.space.from_optuna(kept.params) if whole else {},
            value,
            numbered(history),
            curve,
            spent if spent is not None else sum(known(column(history, "seconds"))) or None,
            number(summary.get("test/accuracy")),
            number(summary.get("val/accuracy")),
            kept.datetime_complete,
            intervals(kept.datetime_start, kept.datetime_complete, sessions(summary)),
            folder,
        )
