"""Compare systems that take turns, each in its own process on one core."""

from __future__ import annotations

import os
import resource
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context

from benchmarks.systems import Builder, TrainEpoch, get_systems
from benchmarks.tasks import MEMORY_TASK, Task

SINGLE_THREAD_ENV = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",  # JAX
}
PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Ratio:
    """Median, lowest and highest ratio of a baseline's time or memory to this library's."""

    task: Task
    baseline: str
    ratio: float
    low: float
    high: float

    @classmethod
    def from_rounds(
        cls, task: Task, baseline: str, baseline_values: Sequence[float], values: Sequence[float]
    ) -> Ratio:
        """Summarize the measurements of the baseline and of this library, one per round each."""
        ratios = [other / own for other, own in zip(baseline_values, values, strict=True)]
        return cls(task, baseline, statistics.median(ratios), min(ratios), max(ratios))


def compare_epoch_times(task: Task, rounds: int) -> Iterator[Ratio]:
    """Time the systems in turns, and yield their ratios to this library."""
    systems = get_systems(task)
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    order = list(systems)
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(start_worker(build, task)) for name, build in systems.items()
        }
        for _ in range(rounds):
            for name in order:
                time.sleep(PAUSE_SECONDS)
                seconds[name].append(workers[name].submit(time_epoch).result())
            order.append(order.pop(0))
    reference, *baselines = systems
    for baseline in baselines:
        if baseline != "this library, training only":
            is_training_only = baseline == "matrix products"
            own = "this library, training only" if is_training_only else reference
            yield Ratio.from_rounds(task, baseline, seconds[baseline], seconds[own])


def compare_peak_memory() -> Iterator[Ratio]:
    """Compare the peak memory of whole processes."""
    peaks = {}
    for name, build in get_systems(MEMORY_TASK).items():
        with start_worker(build, MEMORY_TASK) as worker:
            worker.submit(time_epoch).result()
            peaks[name] = worker.submit(peak_memory_mb).result()
    own_peak = peaks.pop("this library")
    for name, peak in peaks.items():
        baseline = f"{name}, memory: {peak:.0f} MB to {own_peak:.0f}"
        yield Ratio.from_rounds(MEMORY_TASK, baseline, [peak], [own_peak])


_train_epoch: TrainEpoch
"""The system of a worker process."""


def start_worker(build: Builder, task: Task) -> ProcessPoolExecutor:
    """Start a process on one core, and train a first epoch of a system in it."""
    worker = ProcessPoolExecutor(1, get_context("spawn"), _init_worker, (build, task))
    worker.submit(time_epoch).result()
    return worker


def _init_worker(build: Builder, task: Task) -> None:
    global _train_epoch
    os.environ.update(SINGLE_THREAD_ENV)  # read when the builder below loads NumPy
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    sys.stdout = sys.stderr  # what libraries print is not a result
    warnings.simplefilter("ignore")
    if hasattr(os, "sched_setaffinity"):  # one core for each, even if a library starts threads
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    _train_epoch = build(task)


def time_epoch() -> float:
    """Train one epoch in a worker process, and return the seconds that it took."""
    start = time.perf_counter()
    _train_epoch()
    return time.perf_counter() - start


def peak_memory_mb() -> float:
    """Return the peak memory of a worker process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
