"""Commands as a user types them, timed from their start to their end."""

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
from benchmarks.turns import PAUSE, row

SCRIPTS = Path(__file__).parents[1]
OUR_START = f"""
import os, runpy, sys
from nn.optimizers import SGD
SGD.step = lambda *_: os._exit(0)
sys.argv = ["train.py", "tracking=offline"]
runpy.run_path({str(SCRIPTS / "train.py")!r}, run_name="__main__")
"""
BARE_START = """
import os, numpy, hydra, wandb
wandb.init(mode="offline")
os._exit(0)
"""


def compare_start(rounds: int) -> Iterator[dict[str, Any]]:
    """Time from the start of a process to its first training step, or to an open W&B run."""
    seconds: dict[str, list[float]] = {OUR_START: [], BARE_START: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for script, times in seconds.items():
                time.sleep(PAUSE)
                times.append(timed(folder, "-c", script))
    yield row(Task("start", 32, "sgd"), "bare script", seconds[BARE_START], seconds[OUR_START])


def compare_sweep(rounds: int) -> Iterator[dict[str, Any]]:
    """Time the trials of a sweep against one process for each, and what a trial costs beside.

    What it costs beside its training is told without the start of the sweep, which comes once.
    """
    words, few, many = ["lr=0.05", "batch_size=32", "depth=2"], 10, 70
    per_trial: list[float] = []
    by_itself: list[float] = []
    overhead: list[float] = []
    for _ in range(rounds):
        took = []
        for count in (few, many):
            with tempfile.TemporaryDirectory() as folder:
                sweep = [SCRIPTS / "sweep.py", SCRIPTS.parent / "sweeps/random.yaml"]
                took.append(timed(folder, *sweep, "--count", str(count)))
                summaries = Path(folder).glob("runs/sweeps/random/trials/*/summary.json")
                training = [json.loads(each.read_text())["seconds"] for each in summaries]
        per_trial.append(took[1] / many)
        steady = (took[1] - took[0]) / (many - few) * (os.cpu_count() or 1)
        overhead.append(steady - statistics.mean(training))
        with tempfile.TemporaryDirectory() as folder:
            by_itself.append(timed(folder, SCRIPTS / "train.py", *words))
    task = Task("sweep", 32, "sgd")
    yield row(task, "train.py for each trial", by_itself, per_trial)
    yield row(task, "0.15 s beside a trial", [0.15] * rounds, overhead)


def timed(folder: str, *words: str | Path) -> float:
    """Run a command, and tell the seconds that it took."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began
