"""Train, load runs and load sweeps from Python, in scripts and notebooks.

>>> import nn
>>> run = nn.train(["lr=0.1", "epochs=5"])
>>> run.summary["test/accuracy"], run.history, run.confusion_matrix
>>> nn.load_sweep("runs/sweeps/random").trials_dataframe()
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from nn.config.compose import compose_config
from nn.errors import DivergedError, UserError
from nn.io.paths import default_run_dir
from nn.io.serialization import JsonObject
from nn.runs.environment import preserve_environment
from nn.runs.reader import SavedRun
from nn.runs.runner import run as execute_run
from nn.types import Array, Labels

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import JsonValue

    from nn.predict.predictor import Predictor
    from nn.sweeps.distributions import ParameterValue
    from nn.sweeps.trials import SweepTrials

__all__ = ["DivergedError", "Run", "Sweep", "UserError", "load_run", "load_sweep", "train"]


def train(
    overrides: Iterable[str] = (),
    *,
    run_dir: str | PathLike[str] | None = None,
    verbose: bool = False,
) -> Run:
    """Train a network, as `python scripts/train.py` does with the same overrides.

    Signal handlers, standard streams and environment variables are afterwards as they were
    before. Ctrl-C saves the state of the run and raises KeyboardInterrupt.

    Args:
        overrides: Settings such as "lr=0.1" or "optimizer=adam".
        run_dir: The directory of the run; by default a new one below runs/.
        verbose: Whether to print the progress.

    Raises:
        UserError: A setting is wrong; nothing has been written.
        DivergedError: The loss is not finite; the run's directory has its history.
    """
    config = compose_config(overrides)
    path = Path(default_run_dir() if run_dir is None else run_dir)
    with preserve_environment():
        execute_run(config, path, verbose=verbose, signals=[signal.SIGINT])
    return load_run(path)


def load_run(path: str | PathLike[str], *, trust: str = "") -> Run:
    """Load a run from its directory; no code of the run is executed.

    Args:
        path: The run's directory.
        trust: Packages, separated by commas, whose classes `Run.predict` may use besides nn's.
    """
    return Run(SavedRun(Path(path)), trust)


def load_sweep(path: str | PathLike[str]) -> Sweep:
    """Load a sweep from its directory, also while it is running."""
    from nn.sweeps.trials_reader import load_sweep_trials

    return Sweep(load_sweep_trials(Path(path)))


class Run:
    """A run, read from its directory."""

    def __init__(self, saved_run: SavedRun, trust: str) -> None:
        self._saved_run, self._trust = saved_run, trust
        self.path = saved_run.path

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self._saved_run.status})"

    @property
    def config(self) -> JsonObject:
        """The resolved configuration."""
        return self._saved_run.config

    @property
    def summary(self) -> JsonObject:
        """Status, scores and durations; empty while the run is running."""
        return self._saved_run.summary

    @property
    def environment(self) -> JsonObject:
        """The machine, the versions and the commit."""
        return self._saved_run.environment

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their labels."""
        return self._saved_run.class_names

    @cached_property
    def history(self) -> pd.DataFrame:
        """The metrics, one row per epoch."""
        import pandas as pd

        return pd.DataFrame(self._saved_run.history)

    @property
    def confusion_matrix(self) -> pd.DataFrame | None:
        """Counts of samples, with a row per true class and a column per predicted class.

        Of an unfinished run, the latest on the validation set.
        """
        import pandas as pd

        counts, names = self._saved_run.confusion_matrix, self.class_names
        if counts is None:
            return None
        true, predicted = (pd.Index(names, name=axis) for axis in ("true", "predicted"))
        return pd.DataFrame(counts, index=true, columns=predicted)

    def predict(self, images: ArrayLike) -> Labels:
        """Return the most probable class of each sample, as an index into `class_names`."""
        labels: Labels = self.predict_proba(images).argmax(axis=1)
        return labels

    def predict_proba(self, images: ArrayLike) -> Array:
        """Return the probability of each class for each sample, shaped (samples, classes).

        Samples have the raw values of the dataset, such as 0 to 255, in the shape that the
        network takes, or flattened.
        """
        samples = np.asarray(images)
        shape = self._predictor.input_spec.shape
        size = math.prod(shape)
        if (
            samples.dtype.kind not in "buif"
            or samples.ndim < 2
            or samples[:1].size not in (0, size)
        ):
            raise UserError(
                f"images: {samples.dtype} of shape {samples.shape}; "
                f"the network takes numbers of shape {('n', *shape)} or ('n', {size})."
            )
        return self._predictor.predict_proba(samples.reshape(len(samples), *shape))

    @cached_property
    def _predictor(self) -> Predictor:
        from nn.predict.predictor import Predictor

        return Predictor.from_run(self.path, self._trust)


class Sweep:
    """A sweep, read from its directory."""

    def __init__(self, sweep_trials: SweepTrials) -> None:
        self._sweep_trials = sweep_trials
        self.path = sweep_trials.sweep_dir

    def __repr__(self) -> str:
        return f"Sweep({str(self.path)!r}, {len(self._sweep_trials.trials)} trials)"

    @property
    def config(self) -> dict[str, JsonValue]:
        """The content of the sweep file."""
        from nn.sweeps.sweep_file import load_yaml

        return load_yaml(self.path / "sweep.yaml")

    def trials_dataframe(self) -> pd.DataFrame:
        """Return one row per trial, with the columns of Optuna's `Study.trials_dataframe`.

        `value` is the best value of the sweep's metric; the scores of the trial's run follow.
        """
        import pandas as pd

        from nn.sweeps.outcome import read_summary
        from nn.sweeps.trial_record import TrialUserAttrs
        from nn.sweeps.trials import SUMMARY_SCORES

        rows = []
        for trial in self._sweep_trials.trials:
            record, point = TrialUserAttrs.of(trial), self._sweep_trials.get_point(trial.number)
            summary = read_summary(trial, self._sweep_trials.get_trial_dir(trial.number))
            rows.append(
                {
                    "number": trial.number,
                    "replicate_of": record.replicate_of,
                    "replicate": record.replicate,
                    "seed": self._sweep_trials.get_seed(trial.number),
                    "value": record.objective,
                    "datetime_start": trial.datetime_start,
                    "datetime_complete": trial.datetime_complete,
                    "duration": trial.duration,
                    **{f"params_{name}": value for name, value in point.items()},
                    "state": record.status,
                    **{key: summary.get(key) for key in (*SUMMARY_SCORES, "epochs", "seconds")},
                }
            )
        return pd.DataFrame(rows)

    def points_dataframe(self) -> pd.DataFrame:
        """Return one row per point that has a result, best first, with the mean over its seeds.

        The mean is comparable between points with different seeds, and `probability_best` is the
        probability that the point is the best of those tried.
        """
        import pandas as pd

        recommendation = self._sweep_trials.recommend()
        estimates = recommendation.estimates if recommendation else {}
        return pd.DataFrame(
            {
                "number": ranked.point.number,
                "mean": ranked.mean,
                "std_error": ranked.std_error,
                "num_seeds": ranked.num_seeds,
                "probability_best": (
                    estimates[ranked.point.number].probability_best
                    if ranked.point.number in estimates
                    else 0.0
                ),
                **{f"params_{name}": value for name, value in ranked.point.point.items()},
            }
            for ranked in self._sweep_trials.rank_points()
        )

    @property
    def best_params(self) -> Mapping[str, ParameterValue]:
        """The parameters of the best trial."""
        return self._sweep_trials.get_point(self._best_number)

    @property
    def best_value(self) -> float:
        """The metric of the best trial; with replicates, the mean of the best point."""
        if self._sweep_trials.replicates > 1 and (ranked := self._sweep_trials.rank_points()):
            return ranked[0].mean
        value: float = self._sweep_trials.trials[self._best_number].user_attrs["objective"]
        return value

    @property
    def best_run(self) -> Run:
        """The run of the best trial."""
        return load_run(self._sweep_trials.get_trial_dir(self._best_number))

    @property
    def _best_number(self) -> int:
        if self._sweep_trials.replicates > 1 and (points := self._sweep_trials.rank_points()):
            return points[0].point.number
        ranked = self._sweep_trials.rank_trials()
        if not ranked:
            raise UserError(f"{self.path}: no trial has a result.")
        return ranked[0].number
