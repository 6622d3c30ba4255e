"""A sweep that several machines run: where, under which name, and what all must agree on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.study import Study

from nn.errors import Mistake
from nn.sweeps.storage import Storage


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
        for key, value in self.about.items():
            if begun.get(key) != value:
                raise Mistake(
                    f"--storage={self.where}: {self.name} is another sweep, with another {key}; "
                    "--name=NAME begins a new one."
                )
