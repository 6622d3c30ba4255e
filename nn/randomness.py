"""All chance of an experiment comes from one seed, by purpose.

Each purpose has a generator of its own, so that what one draws does not move another: dropout
switched on leaves the order of the batches as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class RandomGenerators:
    """A generator for each purpose."""

    split: np.random.Generator
    init: np.random.Generator
    shuffle: np.random.Generator
    dropout: np.random.Generator
    augmentation: np.random.Generator

    @classmethod
    def from_seed(cls, seed: int) -> RandomGenerators:
        """Spawn the generators from the experiment's seed."""
        seed_sequences = np.random.SeedSequence(seed).spawn(5)
        return cls(*(np.random.Generator(np.random.PCG64(child)) for child in seed_sequences))

    @property
    def state_dict(self) -> dict[str, Any]:
        """Where each generator stands, as plain values."""
        return {name: generator.bit_generator.state for name, generator in vars(self).items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let each generator go on from where it stood."""
        for name, generator in vars(self).items():
            generator.bit_generator.state = state_dict[name]
