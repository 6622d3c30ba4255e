"""Where a run's time goes: a stopwatch around each part."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from nn.network import Network
from nn.training import EpochResult


class Profiler:
    """Adds up the seconds that methods take within the epochs."""

    def __init__(self) -> None:
        self.seconds_by_part: defaultdict[str, float] = defaultdict(float)
        self.tracking_seconds: defaultdict[str, float] = defaultdict(float)
        self.training_seconds = self.evaluation_seconds = 0.0

    def time_method(self, owner: Any, method_name: str, part: str) -> None:
        """Put a stopwatch around a method of one object."""
        self._wrap_method(owner, method_name, part, self.seconds_by_part)

    def time_layers(self, network: Network) -> None:
        """Put one around both directions of each layer."""
        for name, layer in zip(network.sequential.layer_names, network.layers, strict=True):
            self.time_method(layer, "forward", f"{name} forward")
            self.time_method(layer, "backward", f"{name} backward")

    def time_tracking(self, owner: Any, method_name: str) -> None:
        """Put one around what happens with an epoch once it has ended."""
        self._wrap_method(owner, method_name, "tracking", self.tracking_seconds)

    def add_epoch(self, result: EpochResult) -> None:
        """Add an epoch to what the parts are held against."""
        self.training_seconds += result.seconds
        self.evaluation_seconds += result.seconds_of_validation

    def table(self) -> str:
        """Tell each part's share of the time that the epochs took."""
        seconds = {
            **self.seconds_by_part,
            "the loop itself": self.training_seconds - sum(self.seconds_by_part.values()),
            "evaluation": self.evaluation_seconds,
            "tracking": sum(self.tracking_seconds.values()),
        }
        total, width = sum(seconds.values()), max(map(len, seconds))
        rows = (
            f"  {part:{width}} {spent:9.3f} s {spent / total:7.1%}"
            for part, spent in seconds.items()
        )
        return "\n".join(rows)

    def _wrap_method(
        self, owner: Any, method_name: str, part: str, totals: defaultdict[str, float]
    ) -> None:
        original = getattr(owner, method_name)

        def timed(*arguments: Any) -> Any:
            start_time = time.perf_counter()
            result = original(*arguments)
            is_evaluation = method_name == "forward" and not arguments[1]
            if not is_evaluation:
                totals[part] += time.perf_counter() - start_time
            return result

        setattr(owner, method_name, timed)
