"""Dry run of a sweep: check the settings of its trials before it starts, at a bounded cost.

Each value is checked against the type and the range of its setting. The bounds of ranges and a
sample of listed values are also prepared as in a trial, since settings must be compatible.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from functools import cached_property
from itertools import islice, zip_longest
from typing import Any

from nn.config.aliases import list_options
from nn.config.compose import compose_config, get_setting_type
from nn.config.overrides import get_override_key, to_overrides
from nn.config.schema import CONFIG_GROUPS, Config
from nn.config.validate import SettingType
from nn.errors import UserError, format_value
from nn.runs.experiment import prepare
from nn.sweeps.distributions import IntUniform
from nn.sweeps.options import parse_constants
from nn.sweeps.schema import SweepConfig
from nn.sweeps.space import Point

MAX_CONFIGS = 40
"""Limit on the configurations prepared in each of the three checks; one takes about 10 ms."""
MAX_VALUES_PER_PARAMETER = 12
"""Number of listed values of a parameter that are prepared."""
MAX_ERRORS_PER_PARAMETER = 5
"""Number of suspicious values of a parameter that are tested and reported one by one."""


class DryRun:
    """Checks of a sweep's parameters and fixed overrides on prepared configurations."""

    def __init__(
        self, sweep: SweepConfig, overrides: Sequence[str], misread_bools: Collection[str]
    ) -> None:
        """Collect the fixed overrides of all trials.

        Args:
            sweep: The sweep file.
            overrides: Overrides of the command line, in addition to those of the sweep file.
            misread_bools: Parameters with values that YAML reads as Booleans by mistake, such as
                `off`. These values are reported elsewhere and not checked here.
        """
        overrides_before, overrides_after = sweep.command_overrides
        constants = parse_constants(overrides, sweep)
        overrides = [text for text in overrides if get_override_key(text) not in constants]
        self.conflicting_overrides = [
            override
            for override in (*overrides_before, *overrides_after, *overrides)
            if get_override_key(override) in sweep.parameters
        ]
        """Fixed overrides of parameters of the sweep."""
        self.overrides_before, self.overrides_after = (
            [override for override in side if override not in self.conflicting_overrides]
            for side in (
                (*sweep.tracking_overrides, *overrides_before),
                (*overrides_after, *overrides),
            )
        )
        self.parameters = sweep.with_constants(constants).parameters
        self.misread_bools = misread_bools
        self.num_configs = 0

    @cached_property
    def base_config(self) -> Config:
        """A configuration with valid options, from which the types of settings are taken."""
        chosen_options: Point = {}
        for name, dist in self.parameters.items():
            if name in CONFIG_GROUPS:
                options = [value for value in dist.values_to_check if _is_option(name, value)]
                if options:
                    chosen_options[name] = options[0]
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
        """Yield the errors of values and overrides; one that is rejected is not used further."""
        for override in self.conflicting_overrides:
            yield f"{override}: this is a parameter of the sweep; leave it out."
        plausible_values: dict[str, list[Any]] = {}
        suspicious_values: dict[str, list[Any]] = {}
        for name, dist in self.parameters.items():
            setting_type = get_setting_type(name, self.base_config)
            if isinstance(dist, IntUniform) and setting_type and setting_type.is_fractional:
                yield (
                    f"parameters.{name}: min {dist.min} and max {dist.max} are integers, so only "
                    f"integers would be tried; write {dist.min}.0 and {dist.max}.0."
                )
                continue
            for value in dist.values_to_check:
                if _is_plausible(name, value, setting_type):
                    plausible_values.setdefault(name, []).append(value)
                elif not (isinstance(value, bool) and name in self.misread_bools):
                    suspicious_values.setdefault(name, []).append(value)
        first_values = {name: values[0] for name, values in plausible_values.items()}
        if not (yield from self._check_combined_values(first_values)):
            return
        yield from self._check_suspicious_values(first_values, suspicious_values)
        yield from self._check_sampled_values(first_values, plausible_values)

    def _check_combined_values(self, first_values: Point) -> Generator[str, None, bool]:
        """Prepare the first values together; report and remove rejected ones until the rest runs.

        Returns:
            Whether the remaining values can run, so that further values can be tried with them.
        """
        while self.num_configs < MAX_CONFIGS:
            error = self._find_config_error(first_values)
            if error is None:
                return True
            rejected_overrides = [
                override
                for override in self.fixed_overrides
                if error.startswith(f"{get_override_key(override)}=")
            ]
            if rejected_overrides and get_override_key(rejected_overrides[0]) not in first_values:
                yield error
                self.overrides_before, self.overrides_after = (
                    [override for override in side if override not in rejected_overrides]
                    for side in (self.overrides_before, self.overrides_after)
                )
                continue
            name = self._find_culprit(first_values, error)
            if name is None:
                yield error
                return False
            yield f"parameters.{name}: {error}"
            for other in [*first_values]:
                if other == name or other.startswith(f"{name}."):
                    del first_values[other]  # the settings of a rejected option go with it
            if (group := name.partition(".")[0]) in first_values and self._is_required(
                first_values, name
            ):
                del first_values[group]
        return False

    @property
    def fixed_overrides(self) -> list[str]:
        """The overrides that are the same in all trials."""
        return [*self.overrides_before, *self.overrides_after]

    def _find_culprit(self, point: Point, error: str) -> str | None:
        """Return the parameter without which an error does not occur, if there is one.

        Parameters that the error names are tried first.
        """

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
        """Return whether the chosen option requires a setting that the point lacks."""
        return (self._find_config_error(point) or "").startswith(f"{name} is missing")

    def _check_suspicious_values(
        self, first_values: Point, suspicious_values: dict[str, list[Any]]
    ) -> Iterator[str]:
        """Prepare implausible values, whose settings may be of a kind not known here."""
        num_configs_left = MAX_CONFIGS
        for name, values in suspicious_values.items():
            if not num_configs_left:
                yield (
                    f"parameters.{name}: this and further parameters were not checked; fix the "
                    "other errors first."
                )
                return
            tested = values[: min(MAX_ERRORS_PER_PARAMETER, num_configs_left)]
            num_configs_left -= len(tested)
            errors = [self._find_config_error(first_values | {name: value}) for value in tested]
            yield from (f"parameters.{name}: {error}" for error in errors if error)
            if all(errors) and len(values) > len(tested):
                num_others = len(values) - len(tested)
                yield f"parameters.{name}: {num_others} more values look wrong in the same way."

    def _check_sampled_values(
        self, first_values: Point, plausible_values: dict[str, list[Any]]
    ) -> Iterator[str]:
        """Prepare other values, one parameter at a time, extreme values first."""
        samples = {name: _sample_values(plausible_values[name])[1:] for name in first_values}
        extreme_values = {name: values[0] for name, values in samples.items() if values}
        # settings whose extreme values run together are not checked one by one; options are
        if extreme_values and self._find_config_error(first_values | extreme_values) is None:
            samples = {
                name: values if name in CONFIG_GROUPS else values[1:]
                for name, values in samples.items()
            }
        candidates = (  # the next value of each parameter in turn
            (name, value)
            for values in zip_longest(*samples.values(), fillvalue=_MISSING)
            for name, value in zip(samples, values, strict=True)
            if value is not _MISSING
        )
        for name, value in islice(candidates, MAX_CONFIGS):
            error = self._find_config_error(first_values | {name: value})
            if error:
                yield f"parameters.{name}: {error}"

    def _build_overrides(self, point: Point) -> list[str]:
        return [*self.overrides_before, *to_overrides(point), *self.overrides_after]

    def _find_config_error(self, point: Point) -> str | None:
        """Return why a trial with these values cannot run, or None if it can."""
        self.num_configs += 1
        try:
            prepare(compose_config(self._build_overrides(point)))
        except UserError as error:
            return str(error)
        return None


_MISSING = object()


def _is_option(group: str, value: Any) -> bool:
    return isinstance(value, str) and value in list_options(group)


def _is_plausible(name: str, value: Any, setting_type: SettingType | None) -> bool:
    """Return whether a value is within its setting's type and range, as far as known."""
    if name in CONFIG_GROUPS:
        return _is_option(name, value)
    return setting_type is not None and setting_type.accepts(value)


def _sample_values(values: list[Any]) -> list[Any]:
    """Choose a few distinct values: the first, largest and smallest number, else evenly spaced."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        chosen = [values[0], max(values), min(values)]
    else:
        steps = min(len(values), MAX_VALUES_PER_PARAMETER)
        indices = {round(step * (len(values) - 1) / max(steps - 1, 1)) for step in range(steps)}
        chosen = [values[index] for index in sorted(indices)]
    return list({format_value(value): value for value in chosen}.values())
