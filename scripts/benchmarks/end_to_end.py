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

from benchmarks.compare import PAUSE_SECONDS, Ratio
from benchmarks.tasks import Task

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
FEW_TRIALS, MANY_TRIALS = 10, 70
TRIAL_OVERRIDES = "lr=0.05", "batch_size=32", "depth=2"


def compare_startup(rounds: int) -> Iterator[Ratio]:
    """Compare the time to the first training step with that of a script that only starts W&B."""
    seconds: dict[str, list[float]] = {STARTUP_SCRIPT: [], BASELINE_STARTUP_SCRIPT: []}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            for script, times in seconds.items():
                time.sleep(PAUSE_SECONDS)
                times.append(time_command(directory, "-c", script))
    own_seconds, baseline_seconds = seconds.values()
    yield Ratio.from_rounds(Task("start", 32, "sgd"), "bare script", baseline_seconds, own_seconds)


def compare_sweep(rounds: int) -> Iterator[Ratio]:
    """Compare a trial's time with that of a process per trial, and its overhead with 0.15 s.

    The overhead of a trial is its time without training. It is the difference between a long and
    a short sweep, so that the startup of the sweep cancels out.
    """
    seconds_per_trial, train_seconds, overhead = [], [], []
    for _ in range(rounds):
        few_seconds, _ = time_sweep(FEW_TRIALS)
        many_seconds, training_seconds = time_sweep(MANY_TRIALS)
        seconds_per_trial.append(many_seconds / MANY_TRIALS)
        marginal_seconds = (many_seconds - few_seconds) / (MANY_TRIALS - FEW_TRIALS)
        overhead.append(marginal_seconds * (os.cpu_count() or 1) - training_seconds)
        with tempfile.TemporaryDirectory() as directory:
            train_seconds.append(time_command(directory, SCRIPTS / "train.py", *TRIAL_OVERRIDES))
    task = Task("sweep", 32, "sgd")
    yield Ratio.from_rounds(task, "train.py for each trial", train_seconds, seconds_per_trial)
    yield Ratio.from_rounds(task, "0.15 s overhead per trial", [0.15] * rounds, overhead)


def time_sweep(num_trials: int) -> tuple[float, float]:
    """Run a sweep, and return the seconds that it took and the mean training time of a trial."""
    sweep_file = SCRIPTS.parent / "sweeps/random.yaml"
    with tempfile.TemporaryDirectory() as directory:
        command = SCRIPTS / "sweep.py", sweep_file, "--count", str(num_trials)
        seconds = time_command(directory, *command)
        summaries = Path(directory).glob("runs/sweeps/random/trials/*/summary.json")
        training_seconds = [json.loads(path.read_text())["seconds"] for path in summaries]
    return seconds, statistics.mean(training_seconds)


def time_command(cwd: str, *arguments: str | Path) -> float:
    """Run a Python command, and return the seconds that it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - start
