"""Tables of recorded runs of the digits network, on which sweeps are played."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np
from benchmarks.simulation import map_in_processes
from threadpoolctl import threadpool_limits

from nn.config.compose import compose_config
from nn.errors import UserError
from nn.io.files import atomic_write
from nn.runs.experiment import prepare
from nn.sweeps.distributions import ParameterValue
from nn.sweeps.space import Point
from nn.training import fit
from nn.types import Array

ListedValues: TypeAlias = Sequence[float] | Sequence[str]


@dataclass(frozen=True)
class Grid:
    """All combinations of listed settings of the digits network."""

    parameters: Mapping[str, ListedValues]
    num_epochs: int
    num_seeds: int
    overrides: tuple[str, ...] = ()
    """Settings that all runs have in common."""

    @property
    def points(self) -> list[Point]:
        """The points, in the order of the rows of a table."""
        return [
            dict(zip(self.parameters, values, strict=True))
            for values in product(*map(list[ParameterValue], self.parameters.values()))
        ]

    @property
    def description(self) -> str:
        """Identify the grid; only a table of the same grid is reused."""
        return json.dumps([self.parameters, self.num_epochs, self.overrides])


def record_table(path: Path, grid: Grid) -> Array:
    """Train what a table lacks on all available cores, and return it (points, seeds, epochs).

    A value is the validation loss of an epoch, infinite from the one at which a run diverged. The
    file is written after each seed, so that an interrupted recording is continued.

    Raises:
        UserError: The file is not a table of this grid.
    """
    curves = list(_load_table(path, grid).swapaxes(0, 1)) if path.exists() else []
    seeds = range(len(curves), grid.num_seeds)
    recorded = map_in_processes(partial(_train_seed, grid), seeds)
    for seed, curves_of_seed in zip(seeds, recorded, strict=True):
        curves.append(np.array(curves_of_seed))
        content = io.BytesIO()
        table = np.array(curves, np.float32).swapaxes(0, 1)
        np.savez_compressed(content, grid=grid.description, curves=table)
        atomic_write(path, content.getvalue())
        print(f"{path}: recorded {seed + 1} of {grid.num_seeds} seeds", flush=True)
    return np.array(curves, np.float32).swapaxes(0, 1).astype(float)


def _load_table(path: Path, grid: Grid) -> Array:
    try:
        with np.load(path, allow_pickle=False) as content:
            description, curves = str(content["grid"]), np.asarray(content["curves"], float)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        raise UserError(f"{path}: this is not a table of recorded runs; name a new file.") from None
    if description != grid.description:
        raise UserError(f"{path}: this table is of another grid; name a new file.")
    return curves


def _train_seed(grid: Grid, seed: int) -> list[list[float]]:
    """Train all points of a grid with a seed, one after another, since they share the dataset."""
    return [
        _train(
            f"epochs={grid.num_epochs}",
            f"seed={seed}",
            "tracking=disabled",
            *grid.overrides,
            *(f"{name}={value}" for name, value in point.items()),
        )
        for point in grid.points
    ]


def _train(*overrides: str) -> list[float]:
    """Train without a run directory, and return the validation loss of each epoch."""
    config = compose_config(overrides)
    experiment = prepare(config)
    losses: list[float] = []
    with threadpool_limits(1, "blas"), np.errstate(all="ignore"):
        for result in fit(
            experiment.network,
            experiment.loss,
            experiment.optimizer,
            experiment.schedule,
            experiment.batches,
            experiment.dataset.val,
            lr=config.lr,
            epochs=config.epochs,
        ):
            if result.val is None or not result.is_finite:
                break
            losses.append(result.val.loss)
    return losses + [math.inf] * (config.epochs - len(losses))


def best_values(curves: Array) -> Array:
    """Return the lowest loss of each run of a table, infinite if it diverged (points, seeds)."""
    return np.where(np.isfinite(curves).all(-1), curves.min(-1), math.inf)
