"""Parameter importance: the fANOVA of a random forest, in NumPy.

Hutter, Hoos and Leyton-Brown, An efficient approach for assessing hyperparameter importance (2014).
The variance is that over the distributions of the sweep file, so a log-uniform range counts by its
logarithm, which it does not in Optuna's implementation; that also imports scikit-learn, which takes
ten times as long as this estimate. Optuna's PED-ANOVA often misses the most important parameter of
a hundred trials. All trees grow together, level by level, on histograms of the trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState

from nn.errors import format_value
from nn.runs.seeds import SEED, group_by_seed
from nn.sweeps.distributions import Distribution, ParameterValue, is_number
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.samplers.gp.unit_cube import Dimension
from nn.sweeps.space import SearchSpace
from nn.types import Array, Labels

BoolArray: TypeAlias = NDArray[np.bool_]
MAX_IMPORTANCE_TRIALS = 1000
"""Trials, evenly spaced, to which the estimate is limited: its time grows with them."""
NUM_TREES = 64
MAX_DEPTH = 8
"""Deeper nodes fit noise: they change no share by 0.03."""
MAX_BINS = 32
"""Bins of a parameter with more values."""
MIN_FINISHED_TRIALS = 4
MIN_GAIN = 1e-9
"""Reduction of the squared error, of an objective with variance 1, below which no node is split."""
MIN_TRIALS_PER_PARAMETER = 10
"""Finished trials per varied parameter below which an importance is only a hint.

n = 10 d is the usual size of a computer experiment (Loeppky, Sacks and Welch, 2009,
doi:10.1198/TECH.2009.08040). In simulated sweeps this many trials always identified the most
important parameter, while its share still varied by about 0.1 from one sweep to the next.
"""


@dataclass(frozen=True)
class ParamImportances:
    """The share of the objective's variance that each parameter explains, largest first."""

    shares: Mapping[str, float]
    num_trials: int
    """Number of points behind the estimate, at most `MAX_IMPORTANCE_TRIALS`."""
    num_epochs: int | None = None
    """Epochs after which the points are compared; None if by their results."""

    @property
    def basis(self) -> str:
        """The points behind the estimate."""
        noun = "point" if self.num_trials == 1 else "points"
        if self.num_epochs is None:
            return f"{self.num_trials} finished {noun}"
        unit = "epoch" if self.num_epochs == 1 else "epochs"
        return f"{self.num_trials} {noun} after {self.num_epochs} {unit}"

    @property
    def warning(self) -> str:
        """A warning if there are too few trials for a reliable estimate, else an empty string."""
        min_trials = MIN_TRIALS_PER_PARAMETER * len(self.shares)
        if self.num_trials >= min_trials:
            return ""
        return (
            f"{self.basis} are few for this estimate, so treat it as a hint; "
            f"at least {min_trials} are recommended ({MIN_TRIALS_PER_PARAMETER} per varied "
            "parameter)."
        )


def get_param_importances(space: SearchSpace, trials: Iterable[ObservedTrial]) -> ParamImportances:
    """Estimate the importance of each parameter that differs between the finished trials.

    A parameter `seed` is noise: trials that differ in nothing else count as one, with their mean.
    """
    completed = [
        (trial.point, trial.value)
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and trial.value is not None
        and space.contains(trial.point)
    ]
    groups = [[*group.seeds] for group in group_by_seed([point for point, _ in completed])]
    finished = [
        (completed[indices[0]][0], mean(completed[index][1] for index in indices))
        for indices in groups
    ]
    if len(finished) > MAX_IMPORTANCE_TRIALS:
        positions = np.linspace(0, len(finished) - 1, MAX_IMPORTANCE_TRIALS).round().astype(int)
        finished = [finished[position] for position in positions]
    parameters = {}
    for name, distribution in space.parameters.items():
        values = [point[name] for point, _ in finished]
        if name != SEED and len({format_value(value) for value in values}) > 1:
            parameters[name] = _to_histogram(distribution, values)
    if len(finished) < MIN_FINISHED_TRIALS or not parameters:
        return ParamImportances({}, len(finished))
    shares = _compute_fanova(
        [*parameters.values()], np.array([value for _, value in finished], float)
    )
    if not shares.any():
        return ParamImportances({}, len(finished))
    named = zip(parameters, (shares / shares.sum()).tolist(), strict=True)
    return ParamImportances(
        dict(sorted(named, key=lambda item: -item[1])), num_trials=len(finished)
    )


@dataclass(frozen=True)
class _Histogram:
    """The values of a parameter, in bins that are equally large parts of the space."""

    bins: Labels
    num_bins: int
    is_ordered: bool


def _to_histogram(distribution: Distribution, values: Sequence[ParameterValue]) -> _Histogram:
    dimension = Dimension(distribution)
    if dimension.is_continuous:
        coordinates = np.concatenate([dimension.transform(value) for value in values])
        bins = np.minimum((coordinates * MAX_BINS).astype(int), MAX_BINS - 1)
        return _Histogram(bins, MAX_BINS, is_ordered=True)
    listed = distribution.list_values() if distribution.is_discrete else dimension.values
    numbers = sorted(value for value in listed if is_number(value))
    is_ordered = len(numbers) == len(listed)
    ranks = {format_value(value): i for i, value in enumerate(numbers if is_ordered else listed)}
    num_bins = min(len(ranks), MAX_BINS)
    bins = np.array([ranks[format_value(value)] for value in values]) * num_bins // len(ranks)
    return _Histogram(bins, num_bins, is_ordered)


def _compute_fanova(histograms: Sequence[_Histogram], objectives: Array) -> Array:
    """Return the part of the variance that each parameter explains on its own."""
    y = objectives / (np.abs(objectives).max() or 1.0)  # against overflow
    trees, masks, values = _grow_forest(histograms, (y - y.mean()) / (y.std() or 1.0))
    volumes = masks.sum(2) / [histogram.num_bins for histogram in histograms]
    volume = volumes.prod(1)
    means = _sum_by(trees, volume * values, NUM_TREES)
    variances = _sum_by(trees, volume * values**2, NUM_TREES) - means**2
    order = trees.argsort(kind="stable")
    starts = np.searchsorted(trees[order], np.arange(NUM_TREES))
    shares = []
    for index, histogram in enumerate(histograms):
        weights = values * volume / volumes[:, index]
        mask = masks[:, index, : histogram.num_bins]
        marginals = np.add.reduceat((weights[:, None] * mask)[order], starts)
        marginal_variances = np.maximum((marginals**2).mean(1) - means**2, 0)
        is_split = variances > MIN_GAIN
        shares.append(np.sum(marginal_variances[is_split] / variances[is_split]) / NUM_TREES)
    return np.array(shares)


class _Nodes(NamedTuple):
    """Nodes of all trees: parts of the space, in each of which a tree has one value so far."""

    trees: Labels
    masks: BoolArray
    """Whether a node contains a bin: (nodes, parameters, bins)."""


class _Rows(NamedTuple):
    """Trials in the bootstrap samples of the trees."""

    nodes: Labels
    """Index of the node that a trial is in, if that may still be split."""
    trials: Labels
    weights: Array
    """How often a trial is in the sample."""


class _Splits(NamedTuple):
    """The best split of each node."""

    gains: Array
    """Reduction of the squared error."""
    features: Labels
    left_bins: BoolArray
    """The bins of the feature that are left of the split: (nodes, bins)."""


def _grow_forest(histograms: Sequence[_Histogram], y: Array) -> tuple[Labels, BoolArray, Array]:
    """Grow each tree on a bootstrap sample; return the trees, masks and values of all leaves."""
    bins = np.array([histogram.bins for histogram in histograms])
    num_bins = [histogram.num_bins for histogram in histograms]
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), NUM_TREES)
    trees, trials = np.nonzero(counts)
    rows = _Rows(trees, trials, counts[trees, trials].astype(float))
    root_mask = np.arange(max(num_bins)) < np.array(num_bins)[:, None]
    nodes = _Nodes(np.arange(NUM_TREES), np.repeat(root_mask[None], NUM_TREES, 0))
    leaves = []
    for _ in range(MAX_DEPTH):
        splits = _find_splits(histograms, y, rows, nodes, rng)
        is_split = splits.gains > MIN_GAIN
        values = _compute_values(rows, y, len(is_split))
        leaves.append((nodes.trees[~is_split], nodes.masks[~is_split], values[~is_split]))
        parents = np.flatnonzero(is_split)
        features, left_bins = splits.features[parents], splits.left_bins[parents]
        children = [nodes.masks[parents], nodes.masks[parents]]
        for mask, side in zip(children, (left_bins, ~left_bins), strict=True):
            mask[np.arange(len(parents)), features] &= side
        nodes = _Nodes(np.tile(nodes.trees[parents], 2), np.concatenate(children))
        is_kept = is_split[rows.nodes]
        index = np.searchsorted(parents, rows.nodes[is_kept])
        is_left = left_bins[index, bins[features[index], rows.trials[is_kept]]]
        rows = _Rows(
            np.where(is_left, index, index + len(parents)),
            rows.trials[is_kept],
            rows.weights[is_kept],
        )
    leaves.append((*nodes, _compute_values(rows, y, len(nodes.trees))))
    leaf_trees, leaf_masks, leaf_values = zip(*leaves, strict=True)
    return np.concatenate(leaf_trees), np.concatenate(leaf_masks), np.concatenate(leaf_values)


def _compute_values(rows: _Rows, y: Array, num_nodes: int) -> Array:
    """Return the mean objective of each node."""
    sums = _sum_by(rows.nodes, rows.weights * y[rows.trials], num_nodes)
    return sums / _sum_by(rows.nodes, rows.weights, num_nodes)


def _sum_by(groups: Labels, values: Array, num_groups: int) -> Array:
    return np.bincount(groups, values, num_groups).astype(float, copy=False)


def _find_splits(
    histograms: Sequence[_Histogram],
    y: Array,
    rows: _Rows,
    nodes: _Nodes,
    rng: np.random.Generator,
) -> _Splits:
    """Find the best split of each node; of parameters that do equally well, any may be chosen."""
    num_nodes, max_bins = len(nodes.trees), nodes.masks.shape[2]
    best = _Splits(
        np.zeros(num_nodes), np.zeros(num_nodes, int), np.zeros((num_nodes, max_bins), bool)
    )
    for feature, histogram in enumerate(histograms):
        cells = rows.nodes * max_bins + histogram.bins[rows.trials]
        weights, sums = (
            _sum_by(cells, each, num_nodes * max_bins).reshape(-1, max_bins)
            for each in (rows.weights, rows.weights * y[rows.trials])
        )
        ranks = np.broadcast_to(np.arange(max_bins), weights.shape)
        if not histogram.is_ordered:  # the best split is one of the order by mean
            means = np.broadcast_to(
                sums.sum(1, keepdims=True) / weights.sum(1, keepdims=True), weights.shape
            ).copy()
            np.divide(sums, weights, out=means, where=weights > 0)
            order = means.argsort(1, kind="stable")
            weights, sums = (np.take_along_axis(each, order, 1) for each in (weights, sums))
            ranks = order.argsort(1)
        gains, cuts = _find_cuts(weights, sums)
        gains *= 1 - 1e-9 * rng.random(num_nodes)
        is_better = gains > best.gains
        best.gains[is_better], best.features[is_better] = gains[is_better], feature
        best.left_bins[is_better] = (ranks <= cuts[:, None])[is_better]
    return best


def _find_cuts(weights: Array, sums: Array) -> tuple[Array, Labels]:
    """Return the best reduction of the squared error by a cut in each row, and its place.

    Of the bins between two that hold trials, each side gets half.
    """
    left_weight, left = weights.cumsum(1), sums.cumsum(1)
    total_weight, total = left_weight[:, -1:], left[:, -1:]
    right_weight, right = total_weight - left_weight, total - left
    is_cut = (left_weight > 0) & (right_weight > 0)
    products = np.where(is_cut, left_weight * right_weight, 1.0)
    difference = left * right_weight - right * left_weight
    gains = np.where(is_cut, difference**2 / (products * total_weight), -1.0)
    cuts = gains.argmax(1)
    is_later = (weights > 0) & (np.arange(weights.shape[1]) > cuts[:, None])
    return gains.max(1), (cuts + is_later.argmax(1) - 1) // 2
