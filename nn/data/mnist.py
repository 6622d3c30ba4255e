"""MNIST (LeCun, Cortes, Burges) and Fashion-MNIST (Zalando, 2017, MIT licence).

Each file is searched for in `dataset.root`, then in the directory that the environment variable
NN_DATA names, then in the cache, and otherwise downloaded. The mirrors compress the published files
differently, so the SHA-256 of the uncompressed content is verified.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nn.data import cache, idx
from nn.data.files import DATA_DIR_ENV, data_dir, list_dir
from nn.data.source import DataSource, RawDataset, RawSamples
from nn.errors import UserError

MNIST_REGISTRY = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FASHION_MNIST_REGISTRY = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of the uncompressed content of each file."""


class WrongDatasetError(UserError):
    """The file belongs to the other dataset, whose files have the same names."""


@dataclass(frozen=True, kw_only=True)
class MNIST(DataSource):
    """60,000 training and 10,000 test images of handwritten digits, 28 x 28 pixels."""

    root: str | None = None
    mirrors: list[str] = field(default_factory=list)

    NAME: ClassVar = "mnist"
    CLASS_NAMES: ClassVar = tuple("0123456789")
    REGISTRY: ClassVar = MNIST_REGISTRY

    def read(self, rng: np.random.Generator) -> RawDataset:
        """Find, verify and read the four files."""
        arrays = [self._read_file(name) for name in self.REGISTRY]
        images, labels, test_images, test_labels = arrays
        return RawDataset(
            train=RawSamples(images[:, None], labels.astype(np.int64)),
            test=RawSamples(test_images[:, None], test_labels.astype(np.int64)),
            class_names=self.CLASS_NAMES,
            max_value=255,
        )

    def _read_file(self, name: str) -> NDArray[np.number]:
        """Read the user's file, else the cached one, else download it."""
        for files_by_name, is_dedicated in self._search_dirs():
            for file in (name, f"{name}.gz"):
                if file in files_by_name:
                    try:
                        return self._read_verified(files_by_name[file])
                    except WrongDatasetError:
                        if is_dedicated:
                            raise
        target = cache.cache_dir(self.NAME) / f"{name}.gz"
        if target.exists():
            with contextlib.suppress(UserError):
                return self._read_verified(target)
        try:
            return cache.download(self.mirrors, target, self._read_verified)
        except cache.DownloadError as error:
            names = ", ".join(f"{file}.gz" for file in self.REGISTRY)
            raise UserError(
                f"{self.NAME} could not be downloaded: put {names} into {target.parent}, or set "
                f"dataset.root=DIR or {DATA_DIR_ENV} to a directory that has them ({error})."
            ) from None

    def _search_dirs(self) -> Iterator[tuple[Mapping[str, Path], bool]]:
        """Yield the files of each user directory, and whether it is dedicated to this dataset."""
        if self.root is not None:
            yield list_dir(self.root, "dataset.root"), True
        data_root = data_dir()
        if data_root is not None:
            if (data_root / self.NAME).is_dir():
                yield list_dir(str(data_root / self.NAME), DATA_DIR_ENV), True
            yield list_dir(str(data_root), DATA_DIR_ENV), False

    def _read_verified(self, path: Path) -> NDArray[np.number]:
        values, digest = idx.read(path)
        name = path.name.removesuffix(".gz")
        if digest == self.REGISTRY[name]:
            return values
        for other in (MNIST, FashionMNIST):
            if digest == other.REGISTRY[name]:
                raise WrongDatasetError(
                    f"{path} belongs to {other.NAME}; set dataset={other.NAME}."
                )
        raise UserError(
            f"{path} is not the published file: the SHA-256 of its content is {digest}, "
            f"not {self.REGISTRY[name]}."
        )


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(MNIST):
    """60,000 training and 10,000 test images of clothes, in the format of MNIST."""

    NAME: ClassVar = "fashion_mnist"
    CLASS_NAMES: ClassVar = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    REGISTRY: ClassVar = FASHION_MNIST_REGISTRY
