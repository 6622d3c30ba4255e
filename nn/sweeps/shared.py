"""A study that several machines share, and the check that all of them run the same sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import Study

from nn.errors import UserError
from nn.sweeps import schema
from nn.sweeps.storage import StudyStorage

OPTION_KEYS = ("seed", "sampler", "overrides", "config_dir")
"""Settings that must agree in addition to those of the sweep file."""


@dataclass(frozen=True)
class SharedStudy:
    """Location and configuration of a study that machines share."""

    storage: StudyStorage
    redacted_url: str
    study_name: str
    sweep_config: Mapping[str, Any]
    """The sweep file as JSON, with the settings of `OPTION_KEYS` and without run_cap."""
    grace_seconds: float

    def ensure_same_sweep(self, study: Study) -> None:
        """Record the sweep's configuration in a new study, or check it against the recorded one.

        Raises:
            UserError: The study belongs to another sweep.
        """
        stored_config = study.user_attrs.get("about")
        if stored_config is None:
            if study.get_trials(deepcopy=False):
                raise UserError(
                    f"--storage={self.redacted_url}: {self.study_name} is not a sweep of this "
                    "program; --name=NAME starts a new one."
                )
            study.set_user_attr("about", dict(self.sweep_config))
            return
        for change in self._describe_changes(stored_config):
            raise UserError(
                f"--storage={self.redacted_url}: {self.study_name} is another sweep: {change}; "
                "--name=NAME starts a new one."
            )

    def _describe_changes(self, stored_config: Mapping[str, Any]) -> Iterator[str]:
        """Describe how the sweep in the storage differs from this one."""
        stored_sweep, sweep = (
            schema.parse_sweep_config(
                {key: value for key, value in config.items() if key not in OPTION_KEYS},
                Path(self.study_name),
            )
            for config in (stored_config, self.sweep_config)
        )
        yield from schema.describe_changes(stored_sweep, sweep)
        for key in OPTION_KEYS:
            stored_value, value = stored_config.get(key), self.sweep_config.get(key)
            if stored_value != value:
                yield f"{key}: {stored_value} was changed to {value}"
