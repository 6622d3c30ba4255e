"""A sweep that several machines run: where, under which name, and what all must agree on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import Study

from nn.errors import UserError
from nn.sweeps import schema
from nn.sweeps.storage import StudyStorage

OPTION_KEYS = ("seed", "sampler", "overrides")
"""What a sweep keeps to in addition to its file."""


@dataclass(frozen=True)
class SharedStudy:
    """What a machine needs to take part."""

    storage: StudyStorage
    redacted_url: str
    study_name: str
    sweep_config: Mapping[str, Any]
    grace_seconds: float

    def ensure_same_sweep(self, study: Study) -> None:
        """Write down what the sweep is about, or refuse to take part in another."""
        stored_config = study.user_attrs.get("about")
        if stored_config is None:
            if study.get_trials(deepcopy=False):
                raise UserError(
                    f"--storage={self.redacted_url}: {self.study_name} is no sweep of this program."
                )
            study.set_user_attr("about", dict(self.sweep_config))
            return
        for change in self._describe_changes(stored_config):
            raise UserError(
                f"--storage={self.redacted_url}: {self.study_name} is another sweep: {change}; "
                "--name=NAME begins a new one."
            )

    def _describe_changes(self, stored_config: Mapping[str, Any]) -> Iterator[str]:
        """Describe how the sweep in the storage differs from this one."""
        path = Path(self.study_name)
        old, new = (
            {key: facts.get(key) for key in OPTION_KEYS}
            for facts in (stored_config, self.sweep_config)
        )
        old_sweep, new_sweep = (
            schema.parse_sweep_config(
                {key: facts[key] for key in facts if key not in OPTION_KEYS}, path
            )
            for facts in (stored_config, self.sweep_config)
        )
        yield from schema.describe_changes(old_sweep, new_sweep)
        for key in OPTION_KEYS:
            if old[key] != new[key]:
                yield f"{key}: {old[key]} was changed to {new[key]}"
