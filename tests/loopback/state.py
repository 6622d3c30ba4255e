"""The state of the server, with lookups."""

from __future__ import annotations

import random
import string
import threading
from typing import Any

from tests.loopback.answers import Refused
from tests.loopback.artifacts import Collection, Version
from tests.loopback.runs import Run
from tests.loopback.sweeps import Agent, Sweep


class State:
    """All projects, runs, sweeps, artifacts and reports, by name."""

    def __init__(self, entity: str, seed: int) -> None:
        self.entity, self.url = entity, ""
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, Agent] = {}
        self.reports: dict[str, Any] = {}
        self.artifacts: dict[str, Collection] = {}
        self.projects: list[str] = []
        self.lock = threading.RLock()
        self._random = random.Random(seed)

    def new_id(self) -> str:
        """Return a random id of eight characters, as W&B does."""
        return "".join(self._random.choices(string.ascii_lowercase + string.digits, k=8))

    def project(self, name: str | None) -> str:
        """Return the project of this name, created if missing."""
        name = name or "uncategorized"
        if name not in self.projects:
            self.projects.append(name)
        return name

    def own(self, entity: str | None) -> str:
        """Return the requested entity, of which there is only one."""
        if entity not in (None, "", self.entity):
            raise Refused(404, f"entity {entity} not found")
        return self.entity

    def find_run(self, project: str, name: str) -> Run | None:
        run = self.runs.get(name)
        return run if run and run.project == project else None

    @property
    def versions(self) -> list[Version]:
        return [version for each in self.artifacts.values() for version in each.all]

    def version(self, artifact_id: str) -> Version:
        for version in self.versions:
            if artifact_id in (version.id, version.client_id):
                return version
        raise Refused(404, f"artifact {artifact_id} not found")

    def runs_of(self, sweep: str) -> list[Run]:
        return [run for run in self.runs.values() if run.sweep == sweep]

    def ended(self, run: Run) -> None:
        """Return a preempted run to the queue of its sweep."""
        sweep = self.sweeps.get(run.sweep or "")
        if sweep and run.state == "preempted" and run.id not in sweep.queue:
            sweep.queue.append(run.id)

    def crash(self, run_id: str) -> None:
        run = self.runs[run_id]
        run.crashed = True
        self.ended(run)
