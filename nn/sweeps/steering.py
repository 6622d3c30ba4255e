"""Steer a sweep from another process: pause, resume or stop it, queue points and retry trials.

A request is stored in the sweep's study. The processes that run the sweep read it within a second,
or when the sweep is resumed, and it takes effect at the next free worker or epoch.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import JsonValue

from nn.config.compose import compose_config, parse_override_value
from nn.config.overrides import get_override_key, to_overrides
from nn.config.search_path import set_config_dir
from nn.errors import UserError, format_value
from nn.io.coerce import to_finite_float, to_list, to_mapping
from nn.io.files import is_locked
from nn.io.paths import TRIAL_FILE
from nn.runs.history import read_history
from nn.runs.reader import read_json
from nn.sweeps.location import SWEEPS_DIR, SweepLocation
from nn.sweeps.shared_study import progress_key
from nn.sweeps.space import Point, SearchSpace, point_key
from nn.sweeps.storage import open_existing_storage
from nn.sweeps.trial_record import TrialUserAttrs, is_paused
from nn.sweeps.trials import CONTROL_KEY, STOP_REASON, Control, SweepTrials

Verb: TypeAlias = Literal["enqueue", "pause", "resume", "stop", "retry"]
CONTROLS: Mapping[str, Control] = {"pause": "paused", "resume": "running", "stop": "stopped"}
ALL_FAILED = "failed"
"""Stands for all failed trials in the arguments of `retry`."""


class SteerableSweep(ABC):
    """A sweep that carries out requests; each yields sentences on what happens."""

    def carry_out(self, verb: Verb, arguments: Sequence[str]) -> Iterator[str]:
        """Carry out a request as it is written on the command line."""
        match verb:
            case "enqueue":
                return self.enqueue(arguments)
            case "retry":
                return self.retry(arguments)
            case "stop" if arguments:
                return self.stop(arguments)
            case _:
                return self.set_control(CONTROLS[verb])

    @abstractmethod
    def set_control(self, control: Control) -> Iterator[str]:
        """Pause, resume or stop the whole sweep."""

    @abstractmethod
    def enqueue(self, overrides: Sequence[str]) -> Iterator[str]:
        """Put a point at the head of the queue."""

    @abstractmethod
    def stop(self, trials: Sequence[str]) -> Iterator[str]:
        """Stop some trials."""

    @abstractmethod
    def retry(self, selected: Sequence[str]) -> Iterator[str]:
        """Run the points of failed or other ended trials again."""

    @abstractmethod
    def describe(self) -> Iterator[str]:
        """Yield the sweep's state, and a line for each trial that has not ended."""

    @abstractmethod
    def tabulate(self) -> Iterator[str]:
        """Yield a line for each trial, with tabs between the columns."""


class TrialSummary(NamedTuple):
    """A trial as text; what is not known is empty."""

    number: str
    status: str
    """Status of its run, or queued, interrupted or paused."""
    machine: str
    epoch: str
    value: str
    """Objective of an ended or paused trial, last value of the metric of another."""
    point: str


class StoredSweep(SweepTrials, SteerableSweep):
    """A sweep that other processes may be running.

    Args:
        location: Where its study is stored.
        read_only: Whether to open the study without writing anything.
    """

    def __init__(self, location: SweepLocation, *, read_only: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.location = location
        self.storage = open_existing_storage(location.storage_url, read_only=read_only)
        study = location.load_study(self.storage)
        sweep, self.settings = location.read_sweep(study)
        super().__init__(sweep, location.sweep_dir or SWEEPS_DIR / study.study_name, study)
        self._study_id = self.storage.optuna_storage.get_study_id_from_name(study.study_name)

    @property
    def is_running(self) -> bool:
        """Whether a process runs the sweep, as far as its files and its study show."""
        if not self.location.is_shared:
            return is_locked(self.sweep_dir / ".lock") is True
        return any(
            TrialUserAttrs.of(trial).machine
            for trial in self.trials
            if trial.state == TrialState.RUNNING and not is_paused(trial)
        )

    def close(self) -> None:
        """Close the storage."""
        self.storage.close()

    def set_control(self, control: Control) -> Iterator[str]:
        """Pause, resume or stop the whole sweep; yield what happens."""

        def write() -> None:
            with self.storage.lock():
                self.optuna_study.set_user_attr(CONTROL_KEY, control)
                if control == "stopped":
                    self.load_trials()
                    for trial in self.trials:
                        if trial.state == TrialState.RUNNING and not is_paused(trial):
                            self._set_user_attr(trial.number, "stop_requested", value=True)

        self.storage.retry(write)
        if control == "running":
            yield "The sweep continues."
        elif control == "paused":
            yield "No trial starts until resume; running ones pause after their next epoch."
        else:
            yield "No trial starts any more; running ones stop after their next epoch."
        yield from self._warn_if_not_running()

    def enqueue(self, overrides: Sequence[str]) -> Iterator[str]:
        """Put a point at the head of the queue; yield what is unusual about it."""
        settings = self.settings
        set_config_dir(None if settings.config_dir is None else Path(settings.config_dir))
        if self.editions:
            before, after = self.editions[-1].fixed_overrides
        else:
            before, after = self.sweep.command_overrides
            after = [*after, *settings.other_overrides]
        point = parse_point(self.space, [*before, *after], overrides)
        number = self._create_queued_trial(point)
        yield f"Trial {number} is queued: {' '.join(to_overrides(point))}"
        for name, value in point.items():
            if not SearchSpace({name: self.space.parameters[name]}).contains({name: value}):
                yield f"{name}={format_value(value)} is outside the sweep's space."
        missing = [name for name in self.space.parameters if name not in point]
        if missing:
            yield f"The search proposes {', '.join(missing)} when the trial starts."
        else:
            names = self.space.parameters
            key = point_key({name: point[name] for name in names})
            for trial in self.trials:
                other = self.get_point(trial.number) or TrialUserAttrs.of(trial).queued_point
                is_same = other.keys() == names.keys() and key == point_key(
                    {name: other[name] for name in names}
                )
                is_first = TrialUserAttrs.of(trial).replicate_of is None
                if is_same and is_first and trial.number != number:
                    yield f"Trial {trial.number} ({self.get_status(trial)}) has the same point."
        yield from self._warn_if_not_running()

    def stop(self, trials: Sequence[str]) -> Iterator[str]:
        """Stop some trials; yield what happens to each."""
        selected = [self._get_trial("stop", number) for number in trials]
        for trial in selected:
            if trial.state.is_finished():
                raise UserError(
                    f"stop {trial.number}: this trial has ended ({self.get_status(trial)})."
                )

        def write() -> None:
            with self.storage.lock():
                self.load_trials()
                for trial in selected:
                    self._stop_trial(self.trials[trial.number])

        self.storage.retry(write)
        for trial in selected:
            if trial.state == TrialState.WAITING:
                yield f"Trial {trial.number} was removed from the queue."
            elif is_paused(trial):
                yield f"Trial {trial.number} is paused, and will not continue."
            else:
                yield f"Trial {trial.number} stops after its next epoch."
        yield from self._warn_if_not_running()

    def retry(self, selected: Sequence[str]) -> Iterator[str]:
        """Run the points of failed or other ended trials again; yield what happens to each."""
        trials = [self._get_trial("retry", text) for text in selected if text != ALL_FAILED]
        if not selected or ALL_FAILED in selected:
            trials += [trial for trial in self.failed_trials if trial not in trials]
        for trial in trials:
            if not (trial.state.is_finished() or TrialUserAttrs.of(trial).retriable):
                raise UserError(
                    f"retry {trial.number}: this trial has not ended ({self.get_status(trial)})."
                )
            if not self.get_point(trial.number):
                raise UserError(f"retry {trial.number}: the trial's parameters were lost.")
            self._check_not_retried(trial.number)
        if not trials:
            yield "No trial has failed."
            return
        for trial in trials:
            if TrialUserAttrs.of(trial).retriable:
                self._reopen(trial.number)
                yield f"Trial {trial.number} continues at the next free worker."
            else:
                point = self.get_point(trial.number)
                number = self._create_queued_trial(point, retry_of=trial.number)
                yield f"Trial {number} is queued, with the point of trial {trial.number}."
        yield from self._warn_if_not_running()

    def describe(self) -> Iterator[str]:
        """Yield the sweep's state, its best trial, and a line for each running or queued trial."""
        counts = Counter(self.get_status(trial) for trial in self.trials)
        state = "running" if self.is_running else "not running"
        if self.control != "running":
            state = f"{self.control}, {state}"
        counts_text = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        if self.replicates > 1:
            state += f"; points: {len(self.points)}, with up to {self.replicates} seeds each"
        yield f"{self.sweep_dir.name}: {state}; trials: {counts_text or 'none'}"
        if self.sweep.metric and self.replicates > 1 and (ranked_points := self.rank_points()):
            mean, point = (
                ranked_points[0].mean,
                self._summarize(self.trials[ranked_points[0].point.number]),
            )
            yield (
                f"best: trial {point.number}, {self.sweep.metric.name} {mean:.6g} as the mean of "
                f"{ranked_points[0].num_seeds} seeds, {point.point}"
            )
        elif self.sweep.metric and (ranked := self.rank_trials()):
            best = self._summarize(ranked[0])
            yield f"best: trial {best.number}, {self.sweep.metric.name} {best.value}, {best.point}"
        for trial in self.trials:
            if not (trial.state.is_finished() or is_paused(trial)):
                row = self._summarize(trial)
                parts = [f"trial {row.number}", row.status, row.point]
                if row.machine:
                    parts.append(f"on {row.machine}")
                if row.epoch:
                    parts.append(f"epoch {row.epoch}")
                if row.value and self.sweep.metric:
                    parts.append(f"{self.sweep.metric.name} {row.value}")
                yield "  ".join(parts)

    def tabulate(self) -> Iterator[str]:
        """Yield a line for each trial: the fields of `TrialSummary`, separated by tabs."""
        for trial in self.trials:
            yield "\t".join(self._summarize(trial))

    def get_status(self, trial: FrozenTrial) -> str:
        """Return how a trial ended or is going, and of an open one whether a machine runs it."""
        attrs = TrialUserAttrs.of(trial)
        if trial.state == TrialState.WAITING:
            return "queued"
        if trial.state.is_finished() or attrs.retriable or is_paused(trial):
            return str(attrs.status)  # the study may be anyone's
        if attrs.machine is None or not self.is_running:
            return "interrupted"
        return "paused" if self.control == "paused" else "running"

    def _summarize(self, trial: FrozenTrial) -> TrialSummary:
        attrs, point = TrialUserAttrs.of(trial), self.get_point(trial.number)
        epoch, value = self._read_progress(trial)
        seed = [f"seed={self.get_seed(trial.number)}"] if attrs.replicate else []
        if trial.state.is_finished() or is_paused(trial):
            value = to_finite_float(attrs.objective)
        return TrialSummary(
            number=str(trial.number),
            status=self.get_status(trial),
            machine=str(attrs.machine or "").rpartition("-")[0],
            epoch="" if epoch is None else str(epoch),
            value="" if value is None else f"{value:.6g}",
            point=" ".join([*to_overrides(point or attrs.queued_point), *seed]),
        )

    def _read_progress(self, trial: FrozenTrial) -> tuple[int | None, float | None]:
        """Return a trial's last epoch and the metric's value there, as far as they are known here.

        They are in its directory or, if another machine runs it, in the study, some seconds old.
        """
        trial_dir = self.get_trial_dir(trial.number)
        is_here = read_json(trial_dir, TRIAL_FILE).get("parameters") == self.get_point(trial.number)
        if is_here and (history := read_history(trial_dir)):
            epoch, metric = history[-1].get("epoch"), self.sweep.metric
            value = to_finite_float(history[-1].get(metric.name)) if metric else None
            return (epoch if isinstance(epoch, int) else None), value
        attrs = self.optuna_study.user_attrs
        progress = to_mapping(attrs.get(progress_key(TrialUserAttrs.of(trial).machine or "")))
        match to_list(progress.get(str(trial.number))):
            case [int() as last_epoch, last_value]:
                return last_epoch, to_finite_float(last_value)
        return max(trial.intermediate_values.items(), default=(None, None))

    def _warn_if_not_running(self) -> Iterator[str]:
        if not self.is_running:
            yield "The sweep does not run now; this takes effect when it does."

    def _get_trial(self, verb: str, number: str) -> FrozenTrial:
        if not number.isdecimal() or int(number) >= len(self.trials):
            raise UserError(
                f"{verb} {number}: there is no such trial; the sweep has {len(self.trials)}, "
                "numbered from 0."
            )
        return self.trials[int(number)]

    def _create_queued_trial(self, point: Point, retry_of: int | None = None) -> int:
        """Store a trial that waits for a free worker, and return its number."""
        request_id = secrets.token_hex(8)
        attrs: dict[str, JsonValue] = {"queued_point": point, "request_id": request_id}
        if retry_of is not None:
            retried = TrialUserAttrs.of(self.trials[retry_of])
            first = retry_of if retried.replicate_of is None else retried.replicate_of
            attrs |= {"retry_of": retry_of, "replicate": retried.replicate, "replicate_of": first}

        def write() -> int:
            with self.storage.lock():
                self.load_trials()
                for trial in self.trials:  # which an earlier attempt may have stored
                    if trial.user_attrs.get("request_id") == request_id:
                        return trial.number
                if retry_of is not None:
                    self._check_not_retried(retry_of)
                trial = create_trial(state=TrialState.WAITING, user_attrs=attrs)
                storage = self.storage.optuna_storage
                trial_id = storage.create_new_trial(self._study_id, template_trial=trial)
                return storage.get_trial_number_from_id(trial_id)

        return self.storage.retry(write)

    def _check_not_retried(self, number: int) -> None:
        """Raise `UserError` if a trial is being run again already."""
        for other in self.trials:
            if TrialUserAttrs.of(other).retry_of == number and not other.state.is_finished():
                raise UserError(
                    f"retry {number}: trial {other.number} retries it already "
                    f"({self.get_status(other)})."
                )

    def _stop_trial(self, trial: FrozenTrial) -> None:
        """Stop a trial unless it has ended; the caller holds the storage's lock."""
        if trial.state == TrialState.RUNNING and not is_paused(trial):
            self._set_user_attr(trial.number, "stop_requested", value=True)
        elif not trial.state.is_finished():
            self._set_user_attr(trial.number, "status", "pruned")
            self._set_user_attr(trial.number, "reason", STOP_REASON)
            self.storage.optuna_storage.set_trial_state_values(
                self._get_trial_id(trial.number), TrialState.PRUNED
            )

    def _reopen(self, number: int) -> None:
        """Let any machine claim a trial that was left open after a failure."""

        def write() -> None:
            with self.storage.lock():
                self._set_user_attr(number, "machine", None)
                self._set_user_attr(number, "status", "running")
                self._set_user_attr(number, "retriable", value=False)

        self.storage.retry(write)

    def _set_user_attr(self, number: int, name: str, value: JsonValue) -> None:
        trial_id = self._get_trial_id(number)
        self.storage.optuna_storage.set_trial_user_attr(trial_id, name, value)

    def _get_trial_id(self, number: int) -> int:
        return self.storage.optuna_storage.get_trial_id_from_study_id_trial_number(
            self._study_id, number
        )


def parse_point(
    space: SearchSpace, fixed_overrides: Sequence[str], overrides: Sequence[str]
) -> Point:
    """Parse and check the values of a point, which may lack parameters or lie outside the space.

    Args:
        space: The search space.
        fixed_overrides: The overrides of all trials.
        overrides: The values as KEY=VALUE.

    Raises:
        UserError: A setting is unknown or not a parameter, or the trial could not start.
    """
    point: Point = {}
    for override in overrides:
        if "=" not in override:
            raise UserError(f"{override}: write KEY=VALUE, such as lr=0.1.")
        name, value = get_override_key(override), parse_override_value(override)
        if name not in space.parameters:
            compose_config([*fixed_overrides, override])  # which explains an unknown setting
            raise UserError(
                f"{override}: this is not a parameter of the sweep; set some of "
                f"{', '.join(space.parameters)}."
            )
        # a number of the sweep file may be written differently
        values = space.category_values.get(name, {})
        point[name] = values.get(format_value(value), value)
    others = {
        name: distribution.values_to_check[0]
        for name, distribution in space.parameters.items()
        if name not in point
    }
    try:
        compose_config([*fixed_overrides, *to_overrides(others | point)])
    except UserError:  # perhaps due to the other values
        compose_config([*fixed_overrides, *to_overrides(point)])
    return point
