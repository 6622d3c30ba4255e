"""The settings of a sweep's trials, tried before it starts, at a bounded cost.

Each value is compared with the type and the range of its setting. The ends of ranges, and a sample
of what is listed, are also prepared as a trial would be, since settings must suit each other.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from functools import cache, cached_property
from itertools import zip_longest
from typing import Any

from nn.config.aliases import list_options
from nn.config.compose import compose_config, get_setting_type
from nn.config.instantiate import matches_type
from nn.config.knobs import HYPERPARAMETERS
from nn.config.schema import CONFIG_GROUPS
from nn.errors import UserError, format_value
from nn.runs.experiment import prepare
from nn.sweeps.distributions import IntUniform
from nn.sweeps.schema import SweepConfig
from nn.sweeps.space import Point, to_overrides

MAX_CONFIGS = 40
"""Configurations prepared for each of three purposes; one takes some 10 ms."""
MAX_VALUES_PER_PARAMETER = 12
"""Values of one parameter that are prepared."""
MAX_ERRORS_PER_PARAMETER = 5
"""Refused values of one parameter that are reported one by one."""


class DryRun:
    """The trials of a sweep, judged by their settings."""

    def __init__(
        self, sweep: SweepConfig, overrides: Sequence[str], misread_bools: Collection[str]
    ) -> None:
        """Leave out true and false of parameters whose values YAML has misread."""
        overrides_before, overrides_after = sweep.command_overrides
        fixed_overrides = [*overrides_before, *overrides_after, *overrides]
        self.conflicting_overrides = [
            each for each in fixed_overrides if _get_override_key(each) in sweep.parameters
        ]
        """Fixed words that the sweep searches itself."""
        self.overrides_before = [
            word for word in overrides_before if word not in self.conflicting_overrides
        ]
        self.overrides_after = [
            word
            for word in (*overrides_after, *overrides)
            if word not in self.conflicting_overrides
        ]
        self.parameters, self.misread_bools = sweep.parameters, misread_bools
        self.num_configs = 0

    @cached_property
    def base_config(self) -> dict[str, Any]:
        """A configuration with valid options, by which single values can be judged."""
        valid_options = {
            name: next((value for value in each.values_to_check if _is_option(name, value)), None)
            for name, each in self.parameters.items()
            if name in CONFIG_GROUPS
        }
        chosen_options = {name: value for name, value in valid_options.items() if value is not None}
        for overrides in (
            self._build_overrides(chosen_options),
            self._build_overrides({}),
            to_overrides(chosen_options),
        ):
            try:
                return compose_config(overrides)
            except UserError:
                continue
        return compose_config([])

    def find_errors(self) -> Iterator[str]:
        """Report what would be refused; what is refused once is left out from then on."""
        for override in self.conflicting_overrides:
            yield f"{override}: the sweep searches this itself; leave it out."
        plausible_values: dict[str, list[Any]] = {}
        suspicious_values: dict[str, list[Any]] = {}
        for name, dist in self.parameters.items():
            expected_type = get_setting_type(name, self.base_config)
            if (
                isinstance(dist, IntUniform)
                and expected_type is not Any
                and matches_type(0.5, expected_type)
            ):
                yield (
                    f"parameters.{name}: min {dist.min} and max {dist.max} are whole numbers, so "
                    f"only whole numbers would be tried; write {dist.min}.0 and {dist.max}.0."
                )
                continue
            for value in dist.values_to_check:
                if self._is_plausible(name, value, expected_type):
                    plausible_values.setdefault(name, []).append(value)
                elif not (_is_bool(value) and name in self.misread_bools):
                    suspicious_values.setdefault(name, []).append(value)
        first_values = {name: values[0] for name, values in plausible_values.items()}
        if not (yield from self._check_combined_values(first_values)):
            return
        yield from self._check_suspicious_values(first_values, suspicious_values)
        yield from self._check_sampled_values(first_values, plausible_values)

    def _check_combined_values(self, first_values: Point) -> Generator[str, None, bool]:
        """Try the first values together, until what is refused has been reported and taken out.

        Say whether the rest can run, so that further values can be tried with it.
        """
        while self.num_configs < MAX_CONFIGS:
            error = self._find_config_error(first_values)
            if error is None:
                return True
            refused_overrides = [
                each
                for each in self.fixed_overrides
                if error.startswith(f"{_get_override_key(each)}=")
            ]
            if refused_overrides and _get_override_key(refused_overrides[0]) not in first_values:
                yield error
                self.overrides_before, self.overrides_after = (
                    [word for word in side if word not in refused_overrides]
                    for side in (self.overrides_before, self.overrides_after)
                )
                continue
            name = self._find_culprit(first_values, error)
            if name is None:
                yield error
                return False
            yield f"parameters.{name}: {error}"
            for other in [
                each for each in first_values if each == name or each.startswith(f"{name}.")
            ]:
                del first_values[other]  # since an option takes its settings with it
            if (group := name.partition(".")[0]) in first_values and self._is_required(
                first_values, name
            ):
                del first_values[group]
        return False

    @property
    def fixed_overrides(self) -> list[str]:
        """The words that are the same for all trials."""
        return [*self.overrides_before, *self.overrides_after]

    def _find_culprit(self, point: Point, error: str) -> str | None:
        """Find the parameter without which a sentence does not come."""

        def sort_key(name: str) -> tuple[bool, bool, int]:
            prefix, value = f"{name}=", format_value(point[name])
            mention_length = len(value) if value in error else 0
            return not error.startswith(prefix), prefix not in error, -mention_length

        for name in sorted(point, key=sort_key)[:MAX_CONFIGS]:
            other_values = {other: value for other, value in point.items() if other != name}
            if self._find_config_error(other_values) != error:
                return name
        return None

    def _is_required(self, point: Point, name: str) -> bool:
        """Whether an option cannot do without a setting."""
        return (self._find_config_error(point) or "").startswith(f"{name} is missing")

    def _check_suspicious_values(
        self, first_values: Point, suspicious_values: dict[str, list[Any]]
    ) -> Iterator[str]:
        """Try what does not look right by itself: it may be of a kind that is not known here."""
        num_configs_left = MAX_CONFIGS
        for name, values in suspicious_values.items():
            if not num_configs_left:
                yield f"parameters.{name} and others are not checked until these are right."
                return
            tested = values[: min(MAX_ERRORS_PER_PARAMETER, num_configs_left)]
            num_configs_left -= len(tested)
            errors = [self._find_config_error(first_values | {name: value}) for value in tested]
            yield from (f"parameters.{name}: {each}" for each in errors if each)
            if all(errors) and len(values) > len(tested):
                yield f"parameters.{name}: {len(values) - len(tested)} more values are like these."

    def _check_sampled_values(
        self, first_values: Point, plausible_values: dict[str, list[Any]]
    ) -> Iterator[str]:
        """Try other values, one parameter at a time, the outermost first."""
        samples = {name: _sample_values(plausible_values[name])[1:] for name in first_values}
        extreme_values = {name: values[0] for name, values in samples.items() if values}
        if (
            extreme_values and self._find_config_error(first_values | extreme_values) is None
        ):  # so that each of them is right by itself
            samples = {
                name: values if name in CONFIG_GROUPS else values[1:]
                for name, values in samples.items()
            }
        rounds = zip_longest(*samples.values(), fillvalue=_MISSING)
        candidates = [
            (name, value) for turn in rounds for name, value in zip(samples, turn, strict=True)
        ]
        for name, value in [each for each in candidates if each[1] is not _MISSING][:MAX_CONFIGS]:
            error = self._find_config_error(first_values | {name: value})
            if error:
                yield f"parameters.{name}: {error}"

    def _build_overrides(self, point: Point) -> list[str]:
        return [*self.overrides_before, *to_overrides(point), *self.overrides_after]

    def _find_config_error(self, point: Point) -> str | None:
        """Say why a trial cannot run, if it cannot."""
        self.num_configs += 1
        try:
            prepare(compose_config(self._build_overrides(point)))
        except UserError as error:
            return str(error)
        return None

    def _is_plausible(self, name: str, value: Any, expected_type: Any) -> bool:
        """Whether a value is of its setting's type and range, as far as these are known."""
        if name in CONFIG_GROUPS:
            return _is_option(name, value)
        if name in HYPERPARAMETERS:
            return matches_type(value, expected_type) and (
                value is None or bool(HYPERPARAMETERS[name].is_in_range(value))
            )
        group, _, setting = name.partition(".")
        node = self.base_config.get(group)
        return isinstance(node, dict) and setting in node and matches_type(value, expected_type)


_MISSING = object()


def _get_override_key(override: str) -> str:
    return override.split("=")[0].lstrip("+")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


@cache
def _list_options(group: str) -> frozenset[str]:
    return frozenset(list_options(group))


def _is_option(group: str, value: Any) -> bool:
    return isinstance(value, str) and value in _list_options(group)


def _sample_values(values: list[Any]) -> list[Any]:
    """Choose few of many values: of numbers the first and the outermost, of others some."""
    if all(isinstance(value, int | float) and not _is_bool(value) for value in values):
        chosen = [values[0], max(values), min(values)]
    else:
        steps = min(len(values), MAX_VALUES_PER_PARAMETER)
        indices = {round(step * (len(values) - 1) / max(steps - 1, 1)) for step in range(steps)}
        chosen = [values[place] for place in sorted(indices)]
    return list({format_value(value): value for value in chosen}.values())
