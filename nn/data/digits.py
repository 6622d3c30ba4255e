"""The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships (UCI, 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nn.data.dataset import Dataset, Samples
from nn.data.splits import split
from nn.errors import Mistake, require


@dataclass(frozen=True)
class Digits:
    """A share is set aside for the test, and a share of the rest for validation."""

    test: float = 0.2
    validation: float = 0.1

    def __post_init__(self) -> None:
        require(0 < self.test < 1, "test", self.test, "above 0 and below 1")
        require(0 <= self.validation < 1, "validation", self.validation, "at least 0 and below 1")

    def load(self, rng: np.random.Generator) -> Dataset:
        """Read, scale to [0, 1] and split."""
        rows = np.loadtxt(_path(), dtype=np.uint8, delimiter=",")
        x = rows[:, :-1].reshape(-1, 1, 8, 8) / np.float32(16)
        labels = rows[:, -1].astype(np.int64)
        rest, test = split(labels, self.test, rng, "dataset.test")
        train, val = split(labels[rest], self.validation, rng, "dataset.validation")
        sets = [Samples(x[rows], labels[rows]) for rows in (rest[train], rest[val], test)]
        return Dataset(
            train=sets[0],
            val=sets[1] if self.validation else None,
            test=sets[2],
            class_names=tuple("0123456789"),
        )


def _path() -> Path:
    """Find the file without importing scikit-learn, which alone would take seconds."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise Mistake("The digits come with scikit-learn, which is not installed here.")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
