"""Random generators, spawned from one seed.

Each purpose has its own generator, so that drawing from one does not shift another: enabling
dropout does not change the order of the batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

RngStates: TypeAlias = dict[str, Mapping[str, Any]]
"""The state of each generator's bit generator, by purpose, of JSON types."""


@dataclass(frozen=True)
class RandomGenerators:
    """One random generator per purpose."""

    split: np.random.Generator
    init: np.random.Generator
    shuffle: np.random.Generator
    dropout: np.random.Generator
    augmentation: np.random.Generator

    @classmethod
    def from_seed(cls, seed: int) -> RandomGenerators:
        """Spawn the generators from an experiment's seed."""
        seed_sequences = np.random.SeedSequence(seed).spawn(5)
        return cls(*(np.random.Generator(np.random.PCG64(child)) for child in seed_sequences))

    @property
    def state_dict(self) -> RngStates:
        """The position of each generator."""
        return {name: generator.bit_generator.state for name, generator in vars(self).items()}

    def load_state_dict(self, state_dict: RngStates) -> None:
        """Restore from `state_dict`."""
        for name, generator in vars(self).items():
            generator.bit_generator.state = state_dict[name]
