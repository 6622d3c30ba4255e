"""Profile a run: the time that each part of an epoch takes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from nn.network import Network
from nn.training import EpochResult


class Profiler:
    """Accumulates the seconds spent in wrapped methods."""

    def __init__(self) -> None:
        self.seconds_by_part: defaultdict[str, float] = defaultdict(float)
        self.tracking_seconds = 0.0
        self.training_seconds = self.evaluation_seconds = 0.0

    def time_method(self, owner: Any, method_name: str, part: str) -> None:
        """Wrap a method of one object with a timer; `part` is its row in the table."""

        def add(seconds: float) -> None:
            self.seconds_by_part[part] += seconds

        self._wrap_method(owner, method_name, add)

    def time_layers(self, network: Network) -> None:
        """Wrap `forward` and `backward` of each layer."""
        for name, layer in zip(network.sequential.layer_names, network.layers, strict=True):
            self.time_method(layer, "forward", f"{name} forward")
            self.time_method(layer, "backward", f"{name} backward")

    def time_tracking(self, owner: Any, method_name: str) -> None:
        """Wrap a method that runs between the epochs, all of which share the row "tracking"."""

        def add(seconds: float) -> None:
            self.tracking_seconds += seconds

        self._wrap_method(owner, method_name, add)

    def add_epoch(self, result: EpochResult) -> None:
        """Add an epoch to the total of which each part takes a share."""
        self.training_seconds += result.seconds
        self.evaluation_seconds += result.seconds_of_validation

    def table(self) -> str:
        """Format each part's seconds and its share of the total."""
        seconds = {
            **self.seconds_by_part,
            "training loop": self.training_seconds - sum(self.seconds_by_part.values()),
            "evaluation": self.evaluation_seconds,
            "tracking": self.tracking_seconds,
        }
        total, width = sum(seconds.values()), max(map(len, seconds))
        rows = (
            f"  {part:{width}} {spent:9.3f} s {spent / total:7.1%}"
            for part, spent in seconds.items()
        )
        return "\n".join(rows)

    def _wrap_method(self, owner: Any, method_name: str, add: Callable[[float], None]) -> None:
        original = getattr(owner, method_name)

        def timed(*arguments: Any) -> Any:
            start_time = time.perf_counter()
            result = original(*arguments)
            # Sequential passes `training` by position; evaluation is timed as a whole
            is_evaluation = method_name == "forward" and not arguments[1]
            if not is_evaluation:
                add(time.perf_counter() - start_time)
            return result

        setattr(owner, method_name, timed)
