"""Earlier sweeps and runs, W&B runs included, as prior tasks of a new sweep (`--warm-start`)."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from pydantic import ConfigDict, TypeAdapter

from nn.errors import UserError, format_value
from nn.io.coerce import flatten_settings, to_mapping
from nn.io.files import read_regular_file
from nn.io.paths import relpath
from nn.io.serialization import JsonObject
from nn.runs.reader import MAX_JSON_BYTES, find_runs, read_config, read_json
from nn.sweeps.outcome import best_value, read_objective
from nn.sweeps.samplers.gp.objective import PriorTask
from nn.sweeps.schema import Metric
from nn.sweeps.space import SearchSpace
from nn.sweeps.trial_record import ENDED_STATES, TrialUserAttrs
from nn.sweeps.trials_reader import load_sweep_trials
from nn.tracking.wandb_log import LOG_PATTERN, find_log
from nn.tracking.wandb_record import read_log

WARM_START_FILE = "warm_start.json"
"""File in a sweep's directory with its prior tasks, so that it depends on no other directory."""
TASK_SETTINGS = ("dataset", "model", "loss", "epochs")
"""Settings that separate tasks, along with those of the dataset, unless the sweep varies them."""
MAX_TASKS = 8
"""Number of tasks that are used, those of the most trials."""


@dataclass(frozen=True)
class EarlierTrial:
    """Trial of another sweep, or a single run."""

    settings: JsonObject
    """By dotted name, as far as they are known, with the values that the run effectively had."""
    has_ended: bool
    value: float | None
    """Best value of the metric; NaN if the run diverged, None if it did not record the metric."""


TrialReader: TypeAlias = Callable[[], list[EarlierTrial]]
_ADAPTER = TypeAdapter(tuple[PriorTask, ...], config=ConfigDict(ser_json_inf_nan="constants"))


def load_prior_tasks(
    paths: Sequence[Path], space: SearchSpace, metric: Metric
) -> tuple[PriorTask, ...]:
    """Load the trials that ended, a task for each dataset, kind of network, loss and `epochs`.

    Args:
        paths: Directories of sweeps, of runs or of W&B runs, or directories that contain some.
        space: The new sweep's space, whose parameters the points have as far as they are known.
        metric: The new sweep's metric.

    Raises:
        UserError: The sweep could learn nothing from one of the directories.
    """
    parameters = [
        name
        for name, distribution in space.parameters.items()
        if not distribution.is_discrete or distribution.num_values > 1
    ]
    tasks: dict[tuple[str, ...], list[EarlierTrial]] = defaultdict(list)
    for path in paths:
        for trial in _read_trials(path, parameters, metric):
            tasks[_task_key(trial.settings, parameters)].append(trial)
    largest = sorted(tasks.values(), key=len, reverse=True)[:MAX_TASKS]
    return tuple(_to_prior_task(trials, parameters, metric) for trials in largest)


def dump_prior_tasks(prior_tasks: tuple[PriorTask, ...]) -> bytes:
    """Return the content of `WARM_START_FILE`."""
    return _ADAPTER.dump_json(prior_tasks)


def summarize_prior_tasks(prior_tasks: tuple[PriorTask, ...]) -> str | None:
    """Return how many trials the tasks have and a digest of them, or None without tasks."""
    if not prior_tasks:
        return None
    num_trials = sum(len(task.values) for task in prior_tasks)
    digest = hashlib.sha256(dump_prior_tasks(prior_tasks)).hexdigest()[:8]
    return f"{num_trials} trials (SHA-256 {digest})"


def read_prior_tasks(sweep_dir: Path) -> tuple[PriorTask, ...]:
    """Read the prior tasks with which a sweep was started."""
    try:
        content = read_regular_file(sweep_dir, WARM_START_FILE, MAX_JSON_BYTES)
        prior_tasks = _ADAPTER.validate_json(content)
        if any(len(task.points) != len(task.values) for task in prior_tasks):
            raise ValueError(prior_tasks)
        return prior_tasks
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"{relpath(sweep_dir / WARM_START_FILE)} is damaged, and the sweep cannot continue "
            "without it; --name=NAME starts a new one."
        ) from None


def _task_key(settings: JsonObject, parameters: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{name}={format_value(value)}"
        for name, value in sorted(settings.items())
        if (name in TASK_SETTINGS or name.startswith("dataset.")) and name not in parameters
    )


def _to_prior_task(
    trials: Sequence[EarlierTrial], parameters: Sequence[str], metric: Metric
) -> PriorTask:
    points = [
        {name: trial.settings[name] for name in parameters if name in trial.settings}
        for trial in trials
    ]
    return PriorTask(points, [metric.minimization_sign * (trial.value or 0) for trial in trials])


def _read_trials(path: Path, parameters: Sequence[str], metric: Metric) -> list[EarlierTrial]:
    """Read the trials in a directory that ended and recorded the metric.

    A run that is damaged is left out, unless all are.
    """
    if not path.is_dir():
        raise _error(path, "this is not a directory", "name that of a sweep or of runs")
    trials: list[EarlierTrial] = []
    errors: list[UserError] = []
    for read in _find_trials(path, metric):
        try:
            trials += read()
        except UserError as error:
            errors.append(error)
    ended = [trial for trial in trials if trial.has_ended]
    usable = [trial for trial in ended if trial.value is not None]
    if errors and not trials:
        raise _error(path, str(errors[0]).removesuffix("."), "name another directory")
    if not trials:
        raise _error(path, "it contains neither a sweep nor a run", "name that of one")
    if not ended:
        raise _error(path, f"none of its {len(trials)} runs has ended", "wait until one has")
    if not any(math.isfinite(trial.value) for trial in usable if trial.value is not None):
        problem = f"none of its {len(ended)} runs that ended has recorded {metric.name}"
        raise _error(path, problem, "name runs that have")
    values = [trial.settings.get(name) for trial in usable for name in parameters]
    if all(value is None for value in values):
        problem = f"its runs have none of the parameters {', '.join(parameters)}"
        raise _error(path, problem, "name runs that have one")
    return usable


def _error(path: Path, problem: str, remedy: str) -> UserError:
    return UserError(f"--warm-start={path}: {problem}; {remedy}.")


def _find_trials(path: Path, metric: Metric) -> Iterator[TrialReader]:
    """Yield a function for each run and sweep in a directory that reads its trials."""
    wandb_dirs = {log.parent for log in path.rglob(LOG_PATTERN)}
    run_dirs = {
        run_dir for run_dir in find_runs(path) if not wandb_dirs & {run_dir, *run_dir.parents}
    }
    for run_dir in sorted(run_dirs):
        yield partial(_read_run, run_dir, metric)
    for wandb_dir in sorted(wandb_dirs):
        if not run_dirs.intersection(wandb_dir.parents):  # else it is the copy of a run
            yield partial(_read_wandb_run, wandb_dir, metric)
    for sweep_file in sorted(path.rglob("sweep.yaml")):
        yield partial(_read_remote_trials, sweep_file.parent, metric)


def _read_run(run_dir: Path, metric: Metric) -> list[EarlierTrial]:
    status = read_json(run_dir, "summary.json").get("status")
    value = math.nan if status == "diverged" else read_objective(metric, run_dir)
    return [EarlierTrial(_read_settings(run_dir), status in ENDED_STATES, value)]


def _read_settings(run_dir: Path) -> JsonObject:
    config = read_config(run_dir)
    return flatten_settings(config) | to_mapping(config["choices"])


def _read_remote_trials(sweep_dir: Path, metric: Metric) -> list[EarlierTrial]:
    """Read the trials that ran on other machines, of which only the study has a record.

    Settings that are not parameters are taken from a trial that ran on this machine.
    """
    sweep_trials = load_sweep_trials(sweep_dir)
    sweep_metric, shared_settings = sweep_trials.sweep.metric, JsonObject()
    remote_trials = []
    for trial in sweep_trials.complete_trials:
        run_dir, record = sweep_trials.get_trial_dir(trial.number), TrialUserAttrs.of(trial)
        if (run_dir / "config.yaml").exists():
            with suppress(UserError):
                shared_settings = shared_settings or _read_settings(run_dir)
        elif sweep_metric and (sweep_metric.name, sweep_metric.goal) == (metric.name, metric.goal):
            point = sweep_trials.get_point(trial.number)
            value = math.nan if record.status == "diverged" else record.objective
            remote_trials.append(EarlierTrial(point, record.status in ENDED_STATES, value))
    return [
        EarlierTrial(shared_settings | trial.settings, trial.has_ended, trial.value)
        for trial in remote_trials
    ]


def _read_wandb_run(run_dir: Path, metric: Metric) -> list[EarlierTrial]:
    """Read a run that any program has logged; our own have some settings below `settings`."""
    log, stat = find_log(run_dir)
    record = read_log(log, stat.st_size, stat.st_mtime_ns)
    curve = next((it["y"] for it in record["metrics"] if it["name"] == metric.name), [])
    value = best_value(metric, curve, record["summary"])
    if value is None and metric.name in record["summary"]:
        value = math.nan
    settings = {name.removeprefix("settings."): item for name, item in record["config"].items()}
    return [EarlierTrial(settings, record["exit_code"] is not None, value)]
