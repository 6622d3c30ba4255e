"""Editions of a sweep: its file and options at the start and after each change.

All are recorded in the study. The trials of earlier editions are read in terms of the present one:
a new parameter has the value with which the trial ran, and the objective is that of the present
metric.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter

from nn.config.compose import compose_config
from nn.config.overrides import get_override_key
from nn.config.schema import Config
from nn.sweeps import schema
from nn.sweeps.distributions import ParameterValue, is_number
from nn.sweeps.schema import SweepConfig
from nn.sweeps.space import FixedOverrides, Point, SearchSpace
from nn.sweeps.sweep_file import parse_yaml

EDITIONS_KEY = "editions"
"""User attribute of a study that was edited: its editions, the original one first."""
EDITION_KEY = "edition"
"""User attribute of a trial: index of the edition that proposed it, 0 if it is missing."""


class Edition(BaseModel):
    """A sweep's file and options, and what earlier trials are in terms of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sweep_file: str
    """Text of the sweep file."""
    sampler: str | None
    overrides: tuple[str, ...]
    constants: dict[str, JsonValue]
    """Values of the overrides that replace parameters with a single value."""
    started_at: float = 0.0
    """When it was recorded, in seconds since 1970."""
    added_values: dict[str, dict[int, JsonValue]] = {}
    """Values of the parameters that are new in it, by the number of each earlier trial."""
    removed_values: dict[str, JsonValue] = {}
    """Values that the parameters which it lacks have from now on."""
    objectives: dict[int, float] | None = None
    """Objectives of the trials that had ended, if it has another metric."""

    @cached_property
    def sweep(self) -> SweepConfig:
        """The parsed sweep file, with the constants that overrides replace."""
        path = Path("sweep.yaml")
        sweep = schema.parse_sweep_config(parse_yaml(self.sweep_file, path), path)
        return sweep.with_constants(self.constants)

    @property
    def fixed_overrides(self) -> FixedOverrides:
        """The overrides that its trials have in common."""
        before, after = self.sweep.command_overrides
        others = [text for text in self.overrides if get_override_key(text) not in self.constants]
        return FixedOverrides(before, [*after, *others])

    def compose_example(self) -> Config:
        """Compose the configuration of a trial, for the settings that all trials share."""
        parameters = self.sweep.parameters.items()
        point = {name: distribution.values_to_check[0] for name, distribution in parameters}
        return compose_config(self.fixed_overrides.add_point(point))


def dump_editions(editions: Sequence[Edition]) -> JsonValue:
    """Return editions as the JSON value of a study's user attribute."""
    return [edition.model_dump(mode="json", exclude_defaults=True) for edition in editions]


def load_editions(content: JsonValue) -> list[Edition]:
    """Read editions from a study's user attribute.

    Raises:
        ValueError, UserError: It is damaged.
    """
    editions = _EDITIONS.validate_json(json.dumps(content))
    for edition in editions:
        edition.sweep  # noqa: B018  (parsed now, while errors are expected)
    return editions


_EDITIONS = TypeAdapter(list[Edition])


def edition_index(trial: FrozenTrial) -> int:
    """Return the index of the edition that proposed a trial."""
    index = trial.user_attrs.get(EDITION_KEY, 0)
    return max(index, 0) if isinstance(index, int) else 0


class EditedTrials:
    """Reads the trials of all editions in terms of the last one."""

    def __init__(self, editions: Sequence[Edition]) -> None:
        self.editions = editions
        self.space = SearchSpace(editions[-1].sweep.parameters)
        self._first_space = SearchSpace(editions[0].sweep.parameters)
        self._metric_index = max(
            (index for index, edition in enumerate(editions) if edition.objectives is not None),
            default=0,
        )
        """Index of the edition that has introduced the present metric."""

    def read(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial with its point, objective and epochs as the last edition means them."""
        later_editions = self.editions[edition_index(trial) + 1 :]
        point = self.get_recorded_point(trial)
        if not later_editions or point is None:
            return trial
        read_trial, user_attrs = copy(trial), dict(trial.user_attrs)
        user_attrs["point"] = self._read_point(trial.number, point, later_editions)
        for edition in later_editions:
            if edition.objectives and trial.number in edition.objectives:
                user_attrs["objective"] = edition.objectives[trial.number]
                if user_attrs.get("status") == "finished":  # failed without the earlier metric
                    read_trial.state = TrialState.COMPLETE
        if not self.has_present_metric(trial):
            read_trial.intermediate_values = {}
        read_trial.user_attrs = user_attrs
        return read_trial

    def get_recorded_point(self, trial: FrozenTrial) -> Point | None:
        """Return the point with which a trial was proposed; None if it was lost."""
        point: Point | None = trial.user_attrs.get("point")
        if point is None and self._first_space.is_complete(trial.params):  # format version 2
            return self._first_space.from_optuna(trial.params)
        return point

    def has_present_metric(self, trial: FrozenTrial) -> bool:
        """Check whether the values that a trial reported by epoch are of the present metric."""
        return edition_index(trial) >= self._metric_index

    def _read_point(self, number: int, point: Point, later_editions: Sequence[Edition]) -> Point:
        point = dict(point)
        for edition in later_editions:
            for name, values in edition.added_values.items():
                if number in values and name not in point:
                    point[name] = values[number]
            for name, value in edition.removed_values.items():
                if name in point and is_same_value(point[name], value):
                    del point[name]
        return {name: self._adopt_spelling(name, value) for name, value in point.items()}

    def _adopt_spelling(self, name: str, value: ParameterValue) -> ParameterValue:
        """Return a value as the sweep file spells it: 1 in place of 1.0."""
        values = self.space.category_values.get(name, {}).values()
        return next((other for other in values if is_same_value(value, other)), value)


def is_same_value(value: ParameterValue, other: ParameterValue) -> bool:
    """Check whether two values mean the same: 1 and 1.0 do, 1 and true do not."""
    if is_number(value) and is_number(other):
        return value == other
    return type(value) is type(other) and value == other
