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
from tests.fake_wandb.runs import Run, utc_now

Command = dict[str, Any]


def nest_point(parameters: dict[str, Any], point: Point, prefix: str = "") -> Point:
    """Nest the values of nested `parameters` blocks, as in W&B; dotted names stay flat."""
    return {
        name: nest_point(config["parameters"], point, f"{prefix}{name}.")
        if "parameters" in config
        else point[f"{prefix}{name}"]
        for name, config in parameters.items()
        if "parameters" in config or f"{prefix}{name}" in point
    }


@dataclass
class Agent:
    """An agent and the runs that it reports as running."""

    id: str
    sweep: str
    host: str
    running_run_ids: list[str] = field(default_factory=list)
    assigned_run_ids: list[str] = field(default_factory=list)
    heartbeats: int = 0
    created_at: str = field(default_factory=utc_now)


@dataclass
class Sweep:
    """A stored sweep."""

    id: str
    project: str
    config: str
    """The YAML text that the client sent."""
    display_name: str | None = None
    state: str = "RUNNING"
    proposed_points: dict[str, Point] = field(default_factory=dict)
    """The points that were proposed, by run id."""
    requeued_run_ids: list[str] = field(default_factory=list)
    """Preempted and enqueued runs, to be assigned next."""
    seed: int = 0
    created_at: str = field(default_factory=utc_now)

    @property
    def parsed_config(self) -> schema.SweepConfig:
        return schema.parse_sweep_config(yaml.safe_load(self.config), Path("sweep"))

    @property
    def expected_run_count(self) -> int | None:
        """The number of runs that there will be, if known."""
        grid_size = len(self.space.grid()) if self.parsed_config.method == "grid" else None
        limits = [limit for limit in (grid_size, self.parsed_config.run_cap) if limit is not None]
        return min(limits, default=None)

    @property
    def space(self) -> SearchSpace:
        return SearchSpace(self.parsed_config.parameters)

    @property
    def is_exhausted(self) -> bool:
        return (
            self.expected_run_count is not None
            and len(self.proposed_points) >= self.expected_run_count
        )

    def propose_point(self) -> Point:
        """Return the next point: in grid order, or random (for bayes as well)."""
        number, tried_points = len(self.proposed_points), list(self.proposed_points.values())
        if self.parsed_config.method == "grid":
            return self.space.grid()[number]
        return self.space.sample_untried(np.random.default_rng([self.seed, number]), tried_points)

    def next_command(self, new_id: str) -> Command | None:
        """Return the command for the next run: a preempted one, or a new point."""
        if self.requeued_run_ids:
            run_id = self.requeued_run_ids.pop(0)
        elif self.is_exhausted:
            return None
        else:
            run_id, self.proposed_points[new_id] = new_id, self.propose_point()
        parameters = yaml.safe_load(self.config)["parameters"]
        nested_point = nest_point(parameters, self.proposed_points[run_id])
        args = {key: {"value": value} for key, value in nested_point.items()}
        return {
            "type": "run",
            "run_id": run_id,
            "program": self.parsed_config.program,
            "args": args,
        }

    def is_target_reached(self, runs: Iterable[Run]) -> bool:
        """Whether a run has reached the metric's target."""
        metric = self.parsed_config.metric
        return metric is not None and any(
            metric.reaches_target(value) for run in runs for value in run.metric_values(metric.name)
        )

    def should_stop_early(self, run: Run, runs: Sequence[Run]) -> bool:
        """Whether hyperband stops a run."""
        early_terminate, metric = self.parsed_config.early_terminate, self.parsed_config.metric
        if early_terminate is None or metric is None:
            return False
        others = [other.metric_values(metric.name) for other in runs if other is not run]
        return hyperband.should_prune(
            early_terminate, metric, run.metric_values(metric.name), others
        )

    def next_commands(self, agent: Agent, runs: Sequence[Run], new_id: str) -> list[Command]:
        """Return the next commands for an agent."""
        agent_runs = [run for run in runs if run.id in agent.running_run_ids]
        if self.state == "RUNNING" and self.is_target_reached(runs):
            self.state = "FINISHED"
        stop_commands = [
            {"type": "stop", "run_id": run.id}
            for run in agent_runs
            if run.should_stop_by_agent
            or self.state == "CANCELED"
            or self.should_stop_early(run, runs)
        ]
        if agent.running_run_ids or self.state == "PAUSED":
            return stop_commands
        command = self.next_command(new_id) if self.state == "RUNNING" else None
        if command is None:
            self.state = "FINISHED" if self.state == "RUNNING" else self.state
            return [{"type": "exit"}]
        agent.assigned_run_ids.append(command["run_id"])
        return [command]
