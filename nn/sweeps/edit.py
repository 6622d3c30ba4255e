"""Edit a sweep: compare a file and options with the recorded ones, and record what is new."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nn.config.compose import compose_config
from nn.config.overrides import get_override_key
from nn.config.schema import CONFIG_GROUPS
from nn.errors import UserError, format_value
from nn.io.paths import relpath
from nn.io.serialization import JsonObject, parse_json, to_json
from nn.runs.reader import read_config
from nn.sweeps import schema
from nn.sweeps.distributions import ParameterValue, is_number
from nn.sweeps.editions import Edition
from nn.sweeps.options import (
    SweepOptions,
    SweepSettings,
    check_replicates,
    fewer_replicates_error,
)
from nn.sweeps.outcome import read_outcome, read_summary
from nn.sweeps.schema import Metric
from nn.sweeps.study import SweepStudy
from nn.sweeps.trial_record import TrialUserAttrs
from nn.sweeps.trials import REPLICATES_KEY

MACHINE_KEYS = ("run_cap", "name", "description")
"""Keys that may differ between the machines that share a sweep."""
MAX_VALUES_SHOWN = 3


@dataclass(frozen=True)
class SweepEdit:
    """A sweep file with options, compared with the last edition of a study."""

    study: SweepStudy
    source: str
    """The sweep file, as messages name it."""
    edition: Edition
    """The file with its options, which is not recorded yet."""
    known_edition: Edition | None
    """The edition that this machine has run so far; None if it has not."""

    def apply(self, notify: Callable[[str], None], *, is_allowed: bool) -> None:
        """Record the edition if it is new, or use the last one if that is what has changed.

        Args:
            notify: Prints one change.
            is_allowed: Whether an edit was requested.

        Raises:
            UserError: An edit was not requested, or it would change what earlier trials meant.
        """
        with self.study.storage.lock():
            self.study.load_trials()
            known = self.known_edition or self.edition
            current = self.study.editions[-1] if self.study.editions else known
            changes = describe_changes(current, self.edition)
            if not is_allowed:
                changes = {key: changes[key] for key in changes if key not in MACHINE_KEYS}
            if changes:
                if self.known_edition and not describe_changes(known, self.edition):
                    for change in describe_changes(known, current).values():
                        notify(f"Changed since: {change}")
                elif is_allowed and not describe_changes(known, current):
                    edition, lines = self._plan(current, changes)
                    self.study.add_edition(current, edition)
                    for line in lines:
                        notify(line)
                else:
                    raise self._refusal(next(iter(changes.values())), is_allowed=is_allowed)
        self.study.write_edition()

    def apply_replicates(
        self, options: SweepOptions, settings: SweepSettings, notify: Callable[[str], None]
    ) -> SweepSettings:
        """Record the number of seeds per point if it is new, and return the settings with it.

        Raises:
            UserError: There would be fewer, or a change was requested without `--resume`.
        """
        with self.study.storage.lock():
            self.study.load_trials()
            is_recorded = REPLICATES_KEY in self.study.optuna_study.user_attrs
            recorded, racing = self.study.replicates, self.study.racing
            replicates = max(settings.replicates, recorded)
            if (options.replicates or replicates) < recorded:
                raise fewer_replicates_error(options.replicates, recorded)
            settings = settings.model_copy(
                update={
                    "replicates": replicates,
                    "racing": settings.racing and (racing or not is_recorded),
                }
            )
            check_replicates(options, settings.replicates, self.study.sweep)
            if is_recorded and (replicates, settings.racing) != (recorded, racing):
                has_more = replicates != recorded
                change = f"replicates: {recorded} → {replicates}" if has_more else "racing: off"
                if not options.resume:
                    option = f"--replicates={replicates}" if has_more else "--no-racing"
                    present = f"this sweep has {recorded}" if has_more else "this sweep races"
                    raise UserError(
                        f"{option}: {present}; leave it out, or add --resume where it ran before."
                    )
                notify(change)
            self.study.set_replicates(replicates, settings.racing, self._read_first_seed())
        return settings

    def _read_first_seed(self) -> int:
        """Return the seed with which a trial runs that sets none."""
        if self.study.first_seed is not None and self.study.trials:
            return self.study.first_seed
        return self.edition.compose_example().seed

    def _refusal(self, change: str, *, is_allowed: bool) -> UserError:
        if is_allowed:
            path = relpath(self.study.sweep_dir / "sweep.yaml")
            remedy = f"another machine has changed it too; resume with {path} first, then edit that"
        elif self.known_edition:
            remedy = "--resume changes the sweep, --name=NAME starts a new one"
        else:
            remedy = "copy sweep.yaml from another machine; --name=NAME starts a new one"
        return UserError(f"{self.source}: {change} since the sweep was started; {remedy}.")

    def _plan(self, current: Edition, changes: dict[str, str]) -> tuple[Edition, list[str]]:
        """Return the edition, with earlier trials in terms of it, and a line for each change."""
        numbers = [trial.number for trial in self.study.complete_trials]
        if not numbers:
            return self.edition.model_copy(update={"started_at": time.time()}), [*changes.values()]
        self._check_overrides(current, len(numbers))
        old_names, new_names = current.sweep.parameters, self.edition.sweep.parameters
        configs = _TrialConfigs(self.study, current)
        added_values: dict[str, dict[int, ParameterValue]] = {}
        for name in [name for name in new_names if name not in old_names]:
            added_values[name] = configs.read_values(name, numbers)
            recorded_values = {
                number: point[name]
                for number in numbers
                if name in (point := self.study.get_point(number))
            }
            values = recorded_values | added_values[name]
            changes[f"parameters.{name}"] += f"; {_describe_values(values, len(numbers))}"
        removed_values: dict[str, ParameterValue] = {}
        for name in [name for name in old_names if name not in new_names]:
            with suppress(KeyError, UserError):
                point = {other: each.ppf(0.5) for other, each in new_names.items()}
                overrides = self.edition.fixed_overrides.add_point(point)
                value = removed_values[name] = get_setting(_compose(overrides), name)
                changes[f"parameters.{name}"] += f"; from now on, trials have {format_value(value)}"
        edition = self.edition.model_copy(
            update={
                "started_at": time.time(),
                "added_values": added_values,
                "removed_values": removed_values,
                "objectives": self._compute_objectives(current),
            }
        )
        return edition, [*changes.values()]

    def _check_overrides(self, current: Edition, num_trials: int) -> None:
        """Refuse to change a setting that is not recorded with each trial."""
        old, new = _fixed_settings(current), _fixed_settings(self.edition)
        for name in [*new, *old]:
            if old.get(name) == new.get(name) or name in self.edition.sweep.parameters:
                continue
            override = new.get(name) or f"{name}=VALUE"
            value = override.partition("=")[2]
            if name == "seed" and self.study.replicates > 1:
                raise UserError(
                    f"{override}: the seeds of this sweep begin with {self.study.first_seed}; "
                    "--name=NAME starts a new one."
                )
            raise UserError(
                f"{override}: {_count_trials(num_trials)} had {old.get(name, 'another value')}, "
                "and only parameters are recorded with each trial; write "
                f"{name}: {{value: {value}}} under parameters in {self.source}."
            )

    def _compute_objectives(self, current: Edition) -> dict[int, float] | None:
        """Return the objectives of the trials that have ended, if the metric is another one."""
        old, new = current.sweep.metric, self.edition.sweep.metric
        if (old and (old.name, old.goal)) == (new and (new.name, new.goal)):
            return None
        if new is None:
            return {}
        if old and self.study.max_epochs is not None:
            raise UserError(
                f"metric: --scheduler=asha needs {new.name} by epoch, and earlier trials have "
                f"reported {old.name}; --name=NAME starts a new sweep."
            )
        if old and self.edition.sweep.needs_intermediate_values:
            raise UserError(
                f"metric: early_terminate and impute need {new.name} by epoch, and earlier trials "
                f"have reported {old.name}; leave them out of {self.source}."
            )
        return {
            trial.number: self._compute_objective(trial.number, new)
            for trial in self.study.trials
            if trial.state.is_finished()
            and TrialUserAttrs.of(trial).status in ("finished", "pruned")
        }

    def _compute_objective(self, number: int, metric: Metric) -> float:
        trial, trial_dir = self.study.trials[number], self.study.get_trial_dir(number)
        record = TrialUserAttrs.of(trial)
        if not read_summary(trial, trial_dir):
            raise UserError(
                f"metric: trial {number} ran on {record.machine or 'another machine'}, and its run "
                f"is not here; copy it to {relpath(trial_dir)}."
            )
        _, value = read_outcome(record.status, metric, trial_dir)
        if value is None:
            raise UserError(
                f"metric: trial {number} has not recorded {metric.name}; choose a metric that all "
                "finished trials have."
            )
        return value


@dataclass(frozen=True)
class _TrialConfigs:
    """The configurations with which trials ran, or will."""

    study: SweepStudy
    current: Edition

    def read_values(self, name: str, numbers: Sequence[int]) -> dict[int, ParameterValue]:
        """Return the value of a setting in each trial that has it and does not record it."""
        values = {}
        for number in numbers:
            if name not in self.study.get_point(number):
                with suppress(KeyError, UserError):
                    values[number] = get_setting(self._read(number), name)
        return values

    def _read(self, number: int) -> JsonObject:
        """Read a trial's configuration; compose it if it ran on another machine."""
        with suppress(UserError):
            return read_config(self.study.get_trial_dir(number))
        edition = self.study.get_edition(number) or self.current
        point = self.study.get_recorded_point(number)
        return _compose(edition.fixed_overrides.add_point(point))


def describe_changes(before: Edition, after: Edition) -> dict[str, str]:
    """Describe each difference between two editions, by the name of what differs."""
    changes = schema.describe_changes(before.sweep, after.sweep)
    if before.sampler and after.sampler and before.sampler != after.sampler:
        changes["sampler"] = f"sampler: {before.sampler} → {after.sampler}"
    old, new = _fixed_settings(before), _fixed_settings(after)
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name) and name not in after.sweep.parameters:
            changes[f"overrides.{name}"] = f"{old.get(name, 'none')} → {new.get(name, 'none')}"
    return changes


def get_setting(config: JsonObject, name: str) -> ParameterValue:
    """Return the value of a setting or of a chosen option, by the name that overrides it.

    Raises:
        KeyError: The configuration does not have it.
    """
    choices = config.get("choices")
    if name in CONFIG_GROUPS and isinstance(choices, dict):
        return choices[name]
    value: ParameterValue = config
    for key in name.split("."):
        if not isinstance(value, dict):
            raise KeyError(name)
        value = value[key]
    if isinstance(value, dict):
        raise KeyError(name)
    return value


def _compose(overrides: Sequence[str]) -> JsonObject:
    config = parse_json(to_json(compose_config(overrides).model_dump()).encode())
    return config if isinstance(config, dict) else {}


def _fixed_settings(edition: Edition) -> dict[str, str]:
    """Return the overrides that all trials have in common and that affect their results."""
    overrides = edition.fixed_overrides
    return {
        name: override
        for override in (*overrides.before, *overrides.after)
        if (name := get_override_key(override)).partition(".")[0] != "tracking"
        and name != "checkpoint_every"
    }


def _describe_values(values: dict[int, ParameterValue], num_trials: int) -> str:
    numbers = sorted(value for value in values.values() if is_number(value))
    others = [value for value in values.values() if not is_number(value)]
    texts = list(dict.fromkeys(map(format_value, [*numbers, *others])))
    if not texts:
        return f"{_count_trials(num_trials)} had no such setting"
    shown = " or ".join(texts)
    if len(texts) > MAX_VALUES_SHOWN:
        shown = f"{len(texts)} different values"
    return f"{_count_trials(num_trials)} had {shown}"


def _count_trials(number: int) -> str:
    return f"the {number} earlier trials" if number != 1 else "the earlier trial"
