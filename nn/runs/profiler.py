"""Profile a run: the time that each part of an epoch takes."""

from __future__ import annotations

import time
from collections import defaultdict

from nn.network import Network
from nn.training import EpochResult

TRACKING = "tracking"
"""The part of whatever runs between the epochs."""


class Profiler:
    """Accumulates the seconds spent in wrapped methods."""

    def __init__(self) -> None:
        self.seconds_by_part: defaultdict[str, float] = defaultdict(float)
        self.training_seconds = self.evaluation_seconds = 0.0

    def time_method(self, owner: object, method_name: str, part: str) -> None:
        """Wrap a method of one object with a timer; `part` is its row in the table."""
        method = getattr(owner, method_name)

        def timed(*arguments: object) -> object:
            start_time = time.perf_counter()
            result = method(*arguments)
            # Sequential passes `training` by position; evaluation is timed as a whole
            is_evaluation = method_name == "forward" and not arguments[1]
            if not is_evaluation:
                self.seconds_by_part[part] += time.perf_counter() - start_time
            return result

        setattr(owner, method_name, timed)

    def time_layers(self, network: Network) -> None:
        """Wrap `forward` and `backward` of each layer."""
        for name, layer in zip(network.sequential.layer_names, network.layers, strict=True):
            self.time_method(layer, "forward", f"{name} forward")
            self.time_method(layer, "backward", f"{name} backward")

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
