"""The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships (UCI, 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nn.data.source import Content, Raw, Source, digest_of
from nn.data.splits import split
from nn.errors import Mistake, require


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """One file, of which a share is set aside for the test."""

    test: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.test < 1, "test", self.test, "above 0 and below 1")

    def read(self, rng: np.random.Generator) -> Content:
        """Read the file, and draw the test set."""
        rows = np.loadtxt(_path(), dtype=np.uint8, delimiter=",")
        images, labels = rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64)
        train, test = split(labels, self.test, rng, f"dataset.test={self.test:g}")
        return Content(
            train=Raw(images[train], labels[train]),
            test=Raw(images[test], labels[test]),
            class_names=tuple("0123456789"),
            peak=16,
            sha256=digest_of(Raw(images, labels)),
        )


def _path() -> Path:
    """Find the file without importing scikit-learn, which alone would take seconds."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise Mistake("The digits come with scikit-learn, which is not installed here.")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
