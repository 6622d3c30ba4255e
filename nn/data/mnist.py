"""MNIST (LeCun, Cortes, Burges) and Fashion-MNIST (Zalando, 2017, MIT licence).

Each is looked for in `dataset.root`, then in the folder that the environment variable NN_DATA
names, then in the cache, then downloaded. The published archives differ from home to home in
their compression, so it is the content that is verified.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nn.data import cache, idx
from nn.data.download import download
from nn.data.files import DATA_VARIABLE, data_folder, list_folder
from nn.data.source import Content, Raw, Source
from nn.errors import Mistake

MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FASHION_FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""The SHA-256 of the content of each file."""


class OtherDatasetError(Mistake):
    """A published file, but of the dataset whose files have the same names."""


@dataclass(frozen=True, kw_only=True)
class MNIST(Source):
    """60,000 and 10,000 images of handwritten digits, 28 x 28 pixels."""

    root: str | None = None
    homes: list[str] = field(default_factory=list)

    NAME: ClassVar = "mnist"
    CLASSES: ClassVar = tuple("0123456789")
    FILES: ClassVar = MNIST_FILES

    def read(self, rng: np.random.Generator) -> Content:
        """Find, verify and read the four files."""
        found = [self._read(name) for name in self.FILES]
        images, labels, test_images, test_labels = found
        return Content(
            train=Raw(images[:, None], labels.astype(np.int64)),
            test=Raw(test_images[:, None], test_labels.astype(np.int64)),
            class_names=self.CLASSES,
            peak=255,
        )

    def _read(self, name: str) -> NDArray[Any]:
        """Take the user's file, else the cached one, else the one from the internet."""
        for there, is_own in self._folders():
            for file in (name, f"{name}.gz"):
                if file in there:
                    try:
                        return self._verified(there[file])
                    except OtherDatasetError:
                        if is_own:
                            raise
        cached = cache.folder(self.NAME) / f"{name}.gz"
        if cached.exists():
            with contextlib.suppress(Mistake):
                return self._verified(cached)
        try:
            download(self.homes, cached, self._verified)
        except Mistake as error:
            names = ", ".join(f"{file}.gz" for file in self.FILES)
            raise Mistake(
                f"{self.NAME} could not be downloaded: put {names} into {cached.parent}, or name "
                f"a folder that has them with dataset.root=FOLDER or {DATA_VARIABLE} ({error})."
            ) from None
        return self._verified(cached)

    def _folders(self) -> Iterator[tuple[Mapping[str, Path], bool]]:
        """List the user's folders, and say whether each is meant to hold this very dataset."""
        if self.root is not None:
            yield list_folder(self.root, "dataset.root"), True
        data = data_folder()
        if data is not None:
            if (data / self.NAME).is_dir():
                yield list_folder(str(data / self.NAME), DATA_VARIABLE), True
            yield list_folder(str(data), DATA_VARIABLE), False

    def _verified(self, path: Path) -> NDArray[Any]:
        values, digest = idx.read(path)
        name = path.name.removesuffix(".gz")
        if digest == self.FILES[name]:
            return values
        for other in (MNIST, FashionMNIST):
            if digest == other.FILES[name]:
                raise OtherDatasetError(f"{path} is of {other.NAME}; set dataset={other.NAME}.")
        raise Mistake(
            f"{path} is not the published file: the SHA-256 of its content is {digest}, "
            f"not {self.FILES[name]}."
        )


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(MNIST):
    """60,000 and 10,000 images of clothes, in the form of MNIST."""

    NAME: ClassVar = "fashion_mnist"
    CLASSES: ClassVar = (
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
    FILES: ClassVar = FASHION_FILES
