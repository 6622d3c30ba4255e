"""A sweep that several machines run: where, under which name, and what all must agree on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import Study

from nn.errors import Mistake
from nn.sweeps import schema
from nn.sweeps.storage import Storage

OPTIONS = ("seed", "sampler", "overrides")
"""What a sweep keeps to in addition to its file."""


@dataclass(frozen=True)
class Shared:
    """What a machine needs to take part."""

    storage: Storage
    where: str
    name: str
    about: Mapping[str, Any]
    grace: float

    def agree(self, study: Study) -> None:
        """Write down what the sweep is about, or refuse to take part in another."""
        begun = study.user_attrs.get("about")
        if begun is None:
            if study.get_trials(deepcopy=False):
                raise Mistake(f"--storage={self.where}: {self.name} is no sweep of this program.")
            study.set_user_attr("about", dict(self.about))
            return
        for change in self._changes(begun):
            raise Mistake(
                f"--storage={self.where}: {self.name} is another sweep: {change}; "
                "--name=NAME begins a new one."
            )

    def _changes(self, begun: Mapping[str, Any]) -> Iterator[str]:
        """Describe how the sweep in the storage differs from this one."""
        place = Path(self.name)
        old, new = ({key: facts.get(key) for key in OPTIONS} for facts in (begun, self.about))
        before, after = (
            schema.parse({key: facts[key] for key in facts if key not in OPTIONS}, place)
            for facts in (begun, self.about)
        )
        yield from schema.changes(before, after)
        for key in OPTIONS:
            if old[key] != new[key]:
                yield f"{key}: {old[key]} was changed to {new[key]}"
