"""Time systems in turns, each in its own process on one core."""

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

from benchmarks.systems import SYSTEMS, list_systems
from benchmarks.tasks import MEMORY_TASK, Task

SINGLE_THREAD_ENV = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
PAUSE_SECONDS = 0.1
BENCHMARK_SCRIPT = Path(__file__).parents[1] / "benchmark.py"


class Worker:
    """A process that trains one epoch of a system per request."""

    def __init__(self, system: str, task: Task) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                BENCHMARK_SCRIPT,
                "--work",
                json.dumps([system, *asdict(task).values()]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **SINGLE_THREAD_ENV, "PYTHONWARNINGS": "ignore"},
        )
        self._read_reply()

    def time_epoch(self) -> float:
        """Train one epoch, and return the seconds that it took."""
        return self._request("epoch")

    def peak_memory_mb(self) -> float:
        """Return the peak memory of the process in MiB."""
        return self._request("memory")

    def close(self) -> None:
        """Close the process's standard input, at which it exits, and wait for it."""
        self.process.communicate()

    def _request(self, command: str) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self._read_reply()

    def _read_reply(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"A benchmark worker has exited: {self.process.args}")
        return float(line)


def run_worker(system: str, task: Task) -> None:
    """Serve requests: per line of standard input, print the seconds of an epoch or the memory."""
    from threadpoolctl import threadpool_limits

    reply_stream, sys.stdout = sys.stdout, sys.stderr
    if hasattr(os, "sched_setaffinity"):  # one core for each, even if a library starts threads
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with threadpool_limits(1):
        train_epoch = SYSTEMS[system](task)
        train_epoch()
        print(0.0, file=reply_stream, flush=True)
        for command in sys.stdin:
            start = time.perf_counter()
            if command.strip() == "memory":
                reply = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            else:
                train_epoch()
                reply = time.perf_counter() - start
            print(reply, file=reply_stream, flush=True)


def compare_epoch_times(task: Task, rounds: int) -> Iterator[dict[str, Any]]:
    """Time the systems in turns, and yield their ratios to this library."""
    workers = {system: Worker(system, task) for system in list_systems(task)}
    seconds: dict[str, list[float]] = {system: [] for system in workers}
    for round_index in range(rounds):
        order = list(workers)
        for system in order[round_index % len(order) :] + order[: round_index % len(order)]:
            time.sleep(PAUSE_SECONDS)
            seconds[system].append(workers[system].time_epoch())
    for worker in workers.values():
        worker.close()
    reference, *others = workers
    for system in others:
        if system != "ours, training only":
            baseline = "ours, training only" if system == "matrix products" else reference
            yield summarize_ratios(task, system, seconds[system], seconds[baseline])


def compare_peak_memory() -> Iterator[dict[str, Any]]:
    """Compare the peak memory of whole processes."""
    peaks = {}
    for system in list_systems(MEMORY_TASK):
        worker = Worker(system, MEMORY_TASK)
        worker.time_epoch()
        peaks[system] = worker.peak_memory_mb()
        worker.close()
    for system in list(peaks)[1:]:
        against = f"{system}, memory: {peaks[system]:.0f} MB to {peaks['ours']:.0f}"
        yield summarize_ratios(MEMORY_TASK, against, [peaks[system]], [peaks["ours"]])


def summarize_ratios(
    task: Task, against: str, other_values: list[float], own_values: list[float]
) -> dict[str, Any]:
    """Return median, minimum and maximum of the ratios of all rounds, with the task."""
    ratios = [other / own for other, own in zip(other_values, own_values, strict=True)]
    return {
        **asdict(task),
        "against": against,
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
    }
