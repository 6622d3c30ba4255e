"""The state of the server, with lookups."""

from __future__ import annotations

import random
import string
import threading
from typing import Any

from tests.fake_wandb.artifacts import ArtifactCollection, ArtifactVersion
from tests.fake_wandb.graphql_executor import ApiError
from tests.fake_wandb.runs import Run
from tests.fake_wandb.sweeps import Agent, Sweep


class ServerState:
    """All projects, runs, sweeps, artifacts and reports, by name."""

    def __init__(self, entity: str, seed: int) -> None:
        self.entity, self.url = entity, ""
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, Agent] = {}
        self.reports: dict[str, Any] = {}
        self.artifacts: dict[str, ArtifactCollection] = {}
        self.projects: list[str] = []
        self.features: list[str] = []
        self.lock = threading.RLock()
        self._random = random.Random(seed)

    def new_id(self) -> str:
        """Return a random id of eight characters, as W&B does."""
        return "".join(self._random.choices(string.ascii_lowercase + string.digits, k=8))

    def get_or_create_project(self, name: str | None) -> str:
        """Return the project of this name, created if missing."""
        name = name or "uncategorized"
        if name not in self.projects:
            self.projects.append(name)
        return name

    def check_entity(self, entity: str | None) -> str:
        """Return the requested entity, of which there is only one."""
        if entity not in (None, "", self.entity):
            raise ApiError(404, f"entity {entity} not found")
        return self.entity

    def find_run(self, project: str, name: str) -> Run | None:
        run = self.runs.get(name)
        return run if run and run.project == project else None

    @property
    def artifact_versions(self) -> list[ArtifactVersion]:
        return [version for each in self.artifacts.values() for version in each.all_versions]

    def get_version(self, artifact_id: str) -> ArtifactVersion:
        for version in self.artifact_versions:
            if artifact_id in (version.id, version.client_id):
                return version
        raise ApiError(404, f"artifact {artifact_id} not found")

    def runs_of_sweep(self, sweep: str) -> list[Run]:
        return [run for run in self.runs.values() if run.sweep == sweep]

    def requeue_if_preempted(self, run: Run) -> None:
        """Return a preempted run to the queue of its sweep."""
        sweep = self.sweeps.get(run.sweep or "")
        if sweep and run.state == "preempted" and run.id not in sweep.requeued_run_ids:
            sweep.requeued_run_ids.append(run.id)

    def mark_crashed(self, run_id: str) -> None:
        run = self.runs[run_id]
        run.is_crashed = True
        self.requeue_if_preempted(run)
