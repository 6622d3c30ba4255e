"""Systems that take turns, each in a process and on a core of its own."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.systems import SYSTEMS, systems_for
from benchmarks.tasks import MEMORY, Task

THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
PAUSE = 0.1
BENCHMARK = Path(__file__).parents[1] / "benchmark.py"


class Worker:
    """A system in a process of its own, which trains an epoch when asked."""

    def __init__(self, system: str, task: Task) -> None:
        self.process = subprocess.Popen(
            [sys.executable, BENCHMARK, "--work", json.dumps([system, *asdict(task).values()])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **THREADS, "PYTHONWARNINGS": "ignore"},
        )
        self._answer()

    def epoch(self) -> float:
        """Train an epoch, and tell the seconds that it took."""
        return self._ask("epoch")

    def memory(self) -> float:
        """Tell the most memory that the process ever held, in MB."""
        return self._ask("memory")

    def end(self) -> None:
        """Let the process end."""
        self.process.communicate()

    def _ask(self, question: str) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"A worker of the benchmark has died: {self.process.args}")
        return float(line)


def work(system: str, task: Task) -> None:
    """Train an epoch for every line of standard input."""
    from threadpoolctl import threadpool_limits

    answers, sys.stdout = sys.stdout, sys.stderr
    if hasattr(os, "sched_setaffinity"):  # one core each, whatever threads a library starts
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with threadpool_limits(1):
        epoch = SYSTEMS[system](task)
        epoch()
        print(0.0, file=answers, flush=True)
        for question in sys.stdin:
            began = time.perf_counter()
            if question.strip() == "memory":
                answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            else:
                epoch()
                answer = time.perf_counter() - began
            print(answer, file=answers, flush=True)


def compare(task: Task, rounds: int) -> Iterator[dict[str, Any]]:
    """Let the systems take turns, and yield their ratios to this library."""
    workers = {system: Worker(system, task) for system in systems_for(task)}
    seconds: dict[str, list[float]] = {system: [] for system in workers}
    for turn in range(rounds):
        order = list(workers)
        for system in order[turn % len(order) :] + order[: turn % len(order)]:
            time.sleep(PAUSE)
            seconds[system].append(workers[system].epoch())
    for worker in workers.values():
        worker.end()
    first, *others = workers
    for system in others:
        if system != "ours, training only":
            mine = "ours, training only" if system == "matrix products" else first
            yield row(task, system, seconds[system], seconds[mine])


def compare_memory() -> Iterator[dict[str, Any]]:
    """Hold the peak memory of whole processes against each other."""
    peaks = {}
    for system in systems_for(MEMORY):
        worker = Worker(system, MEMORY)
        worker.epoch()
        peaks[system] = worker.memory()
        worker.end()
    for system in list(peaks)[1:]:
        against = f"{system}, memory: {peaks[system]:.0f} MB to {peaks['ours']:.0f}"
        yield row(MEMORY, against, [peaks[system]], [peaks["ours"]])


def row(task: Task, against: str, theirs: list[float], ours: list[float]) -> dict[str, Any]:
    """Sum up the ratios of all rounds."""
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return {
        **asdict(task),
        "against": against,
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }
