"""Sweeps: which trial an agent starts next and which it stops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nn.sweeps import hyperband, schema
from nn.sweeps.space import Point, SearchSpace
from tests.loopback.runs import Run, now

Command = dict[str, Any]


@dataclass
class Agent:
    """An agent and the runs that it reports as running."""

    id: str
    sweep: str
    host: str
    live: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    heartbeats: int = 0
    created: str = field(default_factory=now)


@dataclass
class Sweep:
    """A stored sweep."""

    id: str
    project: str
    config: str
    """The YAML text that the client sent."""
    display_name: str | None = None
    state: str = "RUNNING"
    proposed: dict[str, Point] = field(default_factory=dict)
    """The points that were proposed, by run id."""
    queue: list[str] = field(default_factory=list)
    """Preempted runs to be assigned again."""
    seed: int = 0
    created: str = field(default_factory=now)

    @property
    def rule(self) -> schema.SweepConfig:
        return schema.parse_sweep_config(yaml.safe_load(self.config), Path("sweep"))

    @property
    def expected(self) -> int | None:
        """The number of runs that there will be, if known."""
        grid = len(self.space.grid()) if self.rule.method == "grid" else None
        limits = [limit for limit in (grid, self.rule.run_cap) if limit is not None]
        return min(limits, default=None)

    @property
    def space(self) -> SearchSpace:
        return SearchSpace(self.rule.parameters)

    @property
    def exhausted(self) -> bool:
        return self.expected is not None and len(self.proposed) >= self.expected

    def propose(self) -> Point:
        """Return the next point: in grid order, or random (for bayes as well)."""
        number, tried = len(self.proposed), list(self.proposed.values())
        if self.rule.method == "grid":
            return self.space.grid()[number]
        return self.space.sample_untried(np.random.default_rng([self.seed, number]), tried)

    def next(self, new_id: str) -> Command | None:
        """Return the command for the next run: a preempted one, or a new point."""
        if self.queue:
            run_id = self.queue.pop(0)
        elif self.exhausted:
            return None
        else:
            run_id, self.proposed[new_id] = new_id, self.propose()
        args = {key: {"value": value} for key, value in self.proposed[run_id].items()}
        return {"type": "run", "run_id": run_id, "program": self.rule.program, "args": args}

    def reached(self, runs: Iterable[Run]) -> bool:
        """Whether a run has reached the metric's target."""
        metric = self.rule.metric
        return metric is not None and any(
            metric.reaches_target(value) for run in runs for value in run.values(metric.name)
        )

    def lags(self, run: Run, runs: Sequence[Run]) -> bool:
        """Whether hyperband stops a run."""
        rule, metric = self.rule.early_terminate, self.rule.metric
        if rule is None or metric is None:
            return False
        others = [other.values(metric.name) for other in runs if other is not run]
        return hyperband.should_prune(rule, metric, run.values(metric.name), others)

    def commands(self, agent: Agent, runs: Sequence[Run], new_id: str) -> list[Command]:
        """Return the next commands for an agent."""
        own = [run for run in runs if run.id in agent.live]
        if self.state == "RUNNING" and self.reached(runs):
            self.state = "FINISHED"
        stopped = [
            {"type": "stop", "run_id": run.id}
            for run in own
            if run.stop_by_agent or self.state == "CANCELED" or self.lags(run, runs)
        ]
        if agent.live or self.state == "PAUSED":
            return stopped
        following = self.next(new_id) if self.state == "RUNNING" else None
        if following is None:
            self.state = "FINISHED" if self.state == "RUNNING" else self.state
            return [{"type": "exit"}]
        agent.given.append(following["run_id"])
        return [following]
