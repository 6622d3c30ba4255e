"""Profile a run: the time that each part of an epoch takes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from threading import Lock

from nn.network import Network
from nn.training import EpochResult

TRACKING = "tracking"
"""The part of whatever runs between the epochs."""


class Profiler:
    """Accumulates the seconds spent in wrapped methods."""

    def __init__(self) -> None:
        self.seconds_by_part: defaultdict[str, float] = defaultdict(float)
        self._lock = Lock()
        self.training_seconds = self.evaluation_seconds = 0.0

    def time_method(
        self,
        owner: object,
        method_name: str,
        part: str,
        clock: Callable[[], float] = time.perf_counter,
        num_threads: int = 1,
    ) -> None:
        """Wrap a method of one object with a timer; `part` is its row in the table."""
        method = getattr(owner, method_name)

        def timed(*arguments: object) -> object:
            start_time = clock()
            result = method(*arguments)
            # Sequential passes `training` by position; evaluation is timed as a whole
            is_evaluation = method_name == "forward" and not arguments[1]
            if not is_evaluation:
                seconds = (clock() - start_time) / num_threads
                with self._lock:
                    self.seconds_by_part[part] += seconds
            return result

        setattr(owner, method_name, timed)

    def time_layers(self, network: Network) -> None:
        """Wrap `forward` and `backward` of each layer.

        With shards, a row is the processor time of its layer in all threads, divided by their
        number; the time in which threads wait for each other counts as that of the training loop.
        """
        replicas, clock, num_threads = [network.sequential], time.perf_counter, 1
        if parallel := network.data_parallel:
            replicas, clock = parallel.replicas, time.thread_time
            num_threads = parallel.group.num_threads
        for replica in replicas:
            for name, layer in zip(replica.layer_names, replica.layers, strict=True):
                for method in ("forward", "backward"):
                    self.time_method(layer, method, f"{name} {method}", clock, num_threads)

    def add_epoch(self, result: EpochResult) -> None:
        """Add an epoch to the total of which each part takes a share."""
        self.training_seconds += result.seconds
        self.evaluation_seconds += result.seconds_of_validation

    def table(self) -> str:
        """Format each part's seconds and its share of the total."""
        parts = dict(self.seconds_by_part)
        tracking_seconds = parts.pop(TRACKING, 0.0)
        seconds = {
            **parts,
            "training loop": self.training_seconds - sum(parts.values()),
            "evaluation": self.evaluation_seconds,
            TRACKING: tracking_seconds,
        }
        total, width = sum(seconds.values()), max(map(len, seconds))
        return "\n".join(
            f"  {part:{width}} {spent:9.3f} s {spent / total:7.1%}"
            for part, spent in seconds.items()
        )
