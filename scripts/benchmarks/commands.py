"""Benchmarks of whole commands, as a user runs them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.tasks import Task
from benchmarks.turns import PAUSE_SECONDS, summarize_ratios

SCRIPTS = Path(__file__).parents[1]
STARTUP_SCRIPT = f"""
import os, runpy, sys
from nn.optimizers import SGD
SGD.step = lambda *_: os._exit(0)
sys.argv = ["train.py", "tracking=offline"]
runpy.run_path({str(SCRIPTS / "train.py")!r}, run_name="__main__")
"""
BASELINE_STARTUP_SCRIPT = """
import os, numpy, hydra, wandb
wandb.init(mode="offline")
os._exit(0)
"""


def compare_startup(rounds: int) -> Iterator[dict[str, Any]]:
    """Compare the time to the first training step with that of a script that only opens W&B."""
    seconds: dict[str, list[float]] = {STARTUP_SCRIPT: [], BASELINE_STARTUP_SCRIPT: []}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            for script, times in seconds.items():
                time.sleep(PAUSE_SECONDS)
                times.append(time_command(directory, "-c", script))
    yield summarize_ratios(
        Task("start", 32, "sgd"),
        "bare script",
        seconds[BASELINE_STARTUP_SCRIPT],
        seconds[STARTUP_SCRIPT],
    )


def compare_sweep(rounds: int) -> Iterator[dict[str, Any]]:
    """Compare the time per trial of a sweep with a process per trial, and with 0.15 s of overhead.

    The overhead of a trial is its time without training. It is the difference between a long and
    a short sweep, so that the startup of the sweep cancels out.
    """
    overrides, few_trials, many_trials = ["lr=0.05", "batch_size=32", "depth=2"], 10, 70
    seconds_per_trial: list[float] = []
    train_seconds: list[float] = []
    overhead: list[float] = []
    for _ in range(rounds):
        sweep_seconds = []
        for count in (few_trials, many_trials):
            with tempfile.TemporaryDirectory() as directory:
                command = [SCRIPTS / "sweep.py", SCRIPTS.parent / "sweeps/random.yaml"]
                sweep_seconds.append(time_command(directory, *command, "--count", str(count)))
                summaries = Path(directory).glob("runs/sweeps/random/trials/*/summary.json")
                training_seconds = [json.loads(path.read_text())["seconds"] for path in summaries]
        seconds_per_trial.append(sweep_seconds[1] / many_trials)
        marginal_seconds = (
            (sweep_seconds[1] - sweep_seconds[0])
            / (many_trials - few_trials)
            * (os.cpu_count() or 1)
        )
        overhead.append(marginal_seconds - statistics.mean(training_seconds))
        with tempfile.TemporaryDirectory() as directory:
            train_seconds.append(time_command(directory, SCRIPTS / "train.py", *overrides))
    task = Task("sweep", 32, "sgd")
    yield summarize_ratios(task, "train.py for each trial", train_seconds, seconds_per_trial)
    yield summarize_ratios(task, "0.15 s beside a trial", [0.15] * rounds, overhead)


def time_command(cwd: str, *arguments: str | Path) -> float:
    """Run a Python command, and return the seconds that it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - start
