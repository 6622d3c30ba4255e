"""The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships (UCI, 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np

from nn.data.source import DataSource, RawDataset, RawSamples, compute_sha256
from nn.data.splits import stratified_split
from nn.errors import UserError
from nn.types import Range


@dataclass(frozen=True, kw_only=True)
class Digits(DataSource):
    """One file, of which a stratified fraction becomes the test set."""

    test: Annotated[float, Range(gt=0, lt=1)] = 0.2

    def read(self, rng: np.random.Generator) -> RawDataset:
        """Read the file and draw the test set."""
        table = np.loadtxt(_digits_path(), dtype=np.uint8, delimiter=",")
        images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
        train_indices, test_indices = stratified_split(
            labels, self.test, rng, f"dataset.test={self.test:g}"
        )
        return RawDataset(
            train=RawSamples(images[train_indices], labels[train_indices]),
            test=RawSamples(images[test_indices], labels[test_indices]),
            class_names=tuple("0123456789"),
            max_value=16,
            sha256=compute_sha256(RawSamples(images, labels)),
        )


def _digits_path() -> Path:
    """Locate the file without importing scikit-learn, which would take seconds."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise UserError(
            "dataset=digits: the digits come with scikit-learn, which is not installed; install it "
            "or choose another dataset."
        )
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
