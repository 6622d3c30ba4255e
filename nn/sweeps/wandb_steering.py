"""Steer a sweep on W&B's server, with the features that the server has."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from nn.config.overrides import to_overrides
from nn.errors import SweepError, UserError
from nn.io.coerce import to_finite_float
from nn.sweeps import schema
from nn.sweeps.space import Point, SearchSpace
from nn.sweeps.steering import ALL_FAILED, SteerableSweep, parse_point
from nn.sweeps.trials import Control
from nn.tracking.settings import require_credentials
from nn.tracking.wandb_run import format_reason, load_sweep, stop_run

STATE_FLAGS: Mapping[Control, str] = {
    "paused": "--pause",
    "running": "--resume",
    "stopped": "--cancel",
}
"""Flags of `wandb sweep`; its `--stop` would let running trials continue to their ends."""
FAILED_STATES = ("failed", "crashed")
"""States in W&B of runs that a retry includes."""


def is_wandb_path(text: str) -> bool:
    """Return whether a text is ENTITY/PROJECT/SWEEP, and not the path of a file or directory."""
    return (
        bool(re.fullmatch(r"[\w.-]{1,128}/[\w.-]{1,128}/[\w-]{1,64}", text))
        and not Path(text).exists()
    )


class RunRow(NamedTuple):
    """A run of the sweep, as W&B has it."""

    run_id: str
    state: str
    epoch: JsonValue
    value: float | None
    """Last value of the sweep's metric."""
    point: Point

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields as text; what is not known is empty."""
        return (
            self.run_id,
            self.state,
            "" if self.epoch is None else str(self.epoch),
            "" if self.value is None else f"{self.value:.6g}",
            " ".join(to_overrides(self.point)),
        )


class WandbSweep(SteerableSweep):
    """A sweep of W&B's server, whose trials are run by agents.

    Raises:
        UserError: There are no credentials, or the server does not have this sweep.
    """

    def __init__(self, path: str) -> None:
        require_credentials(path)
        self.path = path
        try:
            self._sweep = load_sweep(path)
        except Exception as error:
            raise UserError(f"{path}: this sweep cannot be read: {format_reason(error)}.") from None
        self.config = schema.parse_sweep_config(self._sweep.config, Path(path))

    def set_control(self, control: Control) -> Iterator[str]:
        """Pause, resume or stop the whole sweep; yield what happens."""
        command = [sys.executable, "-m", "wandb", "sweep", STATE_FLAGS[control], self.path]
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["wandb failed"])[-1]
            raise SweepError(f"{self.path}: {reason.removeprefix('Exception: ').rstrip('.')}.")
        if control == "paused":
            yield "No trial starts until resume; running trials continue, as W&B cannot pause them."
        elif control == "running":
            yield "The sweep continues."
        else:
            yield "No trial starts any more; agents stop the running ones."

    def enqueue(self, overrides: Sequence[str]) -> Iterator[str]:
        """Put a point in the sweep's queue."""
        before, after = self.config.command_overrides
        space = SearchSpace(self.config.parameters)
        point = parse_point(space, (*before, *after), overrides)
        run_id = self._enqueue_run(point)
        yield f"Run {run_id} is queued: {' '.join(to_overrides(point))}"
        missing = [name for name in space.parameters if name not in point]
        if missing:
            yield f"W&B proposes no values for {', '.join(missing)}; train.py uses its defaults."

    def stop(self, trials: Sequence[str]) -> Iterator[str]:
        """Stop some running runs."""
        entity, project, _ = self.path.split("/")
        for row in self._select_runs("stop", trials):
            stop_run(f"{entity}/{project}/{row.run_id}")
            yield f"Run {row.run_id} stops after its next epoch."

    def retry(self, selected: Sequence[str]) -> Iterator[str]:
        """Queue the points of failed or other ended runs again."""
        rows = self._select_runs("retry", [text for text in selected if text != ALL_FAILED])
        if not selected or ALL_FAILED in selected:
            rows += [row for row in self._read_runs() if row.state in FAILED_STATES]
        if not rows:
            yield "No run has failed."
        for row in rows:
            run_id = self._enqueue_run(row.point)
            yield f"Run {run_id} is queued, with the point of run {row.run_id}."

    def describe(self) -> Iterator[str]:
        """Yield the sweep's state and a line for each running run."""
        rows = self._read_runs()
        counts = Counter(row.state for row in rows)
        counts_text = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        yield f"{self.path}: {self._sweep.state.lower()}; runs: {counts_text or 'none'}"
        for row in rows:
            if row.state == "running":
                yield "  ".join(filter(None, row.columns))

    def tabulate(self) -> Iterator[str]:
        """Yield a line for each run, with tabs between the columns of `RunRow`."""
        for row in self._read_runs():
            yield "\t".join(row.columns)

    def _read_runs(self) -> list[RunRow]:
        metric_name = self.config.metric.name if self.config.metric else ""
        return [
            RunRow(
                run.id,
                run.state,
                run.summary.get("epoch"),
                to_finite_float(run.summary.get(metric_name)),
                {name: run.config[name] for name in self.config.parameters if name in run.config},
            )
            for run in self._sweep.runs
        ]

    def _select_runs(self, verb: str, run_ids: Sequence[str]) -> list[RunRow]:
        rows = {row.run_id: row for row in self._read_runs()}
        for run_id in run_ids:
            if run_id not in rows:
                raise UserError(f"{verb} {run_id}: {self.path} has no such run.")
        return [rows[run_id] for run_id in run_ids]

    def _enqueue_run(self, point: Point) -> str:
        try:
            run_id: str = self._sweep.enqueue_run(point)
        except Exception as error:
            raise SweepError(f"{self.path}: {format_reason(error).rstrip('.')}.") from None
        return run_id
