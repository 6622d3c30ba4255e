"""Where a run's time goes: a stopwatch around each part."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from nn.network import Network
from nn.training import Epoch


class Profile:
    """Adds up the seconds that methods take within the epochs."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.tracking: defaultdict[str, float] = defaultdict(float)
        self.training = self.evaluation = 0.0

    def watch(self, owner: Any, method: str, part: str) -> None:
        """Put a stopwatch around a method of one object."""
        self._watch(owner, method, part, self.seconds)

    def watch_layers(self, network: Network) -> None:
        """Put one around both directions of each layer."""
        for name, layer in zip(network.chain.names, network.layers, strict=True):
            self.watch(layer, "forward", f"{name} forward")
            self.watch(layer, "backward", f"{name} backward")

    def watch_tracking(self, owner: Any, method: str) -> None:
        """Put one around what happens with an epoch once it has ended."""
        self._watch(owner, method, "tracking", self.tracking)

    def see(self, epoch: Epoch) -> None:
        """Add an epoch to what the parts are held against."""
        self.training += epoch.seconds
        self.evaluation += epoch.seconds_of_validation

    def table(self) -> str:
        """Tell each part's share of the time that the epochs took."""
        seconds = {
            **self.seconds,
            "the loop itself": self.training - sum(self.seconds.values()),
            "evaluation": self.evaluation,
            "tracking": sum(self.tracking.values()),
        }
        total, width = sum(seconds.values()), max(map(len, seconds))
        rows = (
            f"  {part:{width}} {spent:9.3f} s {spent / total:7.1%}"
            for part, spent in seconds.items()
        )
        return "\n".join(rows)

    def _watch(self, owner: Any, method: str, part: str, sums: defaultdict[str, float]) -> None:
        original = getattr(owner, method)

        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = original(*arguments)
            evaluating = method == "forward" and not arguments[1]
            if not evaluating:
                sums[part] += time.perf_counter() - began
            return result

        setattr(owner, method, timed)
