"""Log expected improvement, and its maximization over a mixed space."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import minimize
from scipy.special import erfcx
from scipy.stats import qmc

from nn.sweeps.samplers.gp.gaussian_process import GaussianProcess
from nn.sweeps.samplers.gp.unit_cube import UnitCube
from nn.types import Array

MAX_ENUMERATED_POINTS = 4096
"""A space of at most this many points is enumerated; a larger one is searched by local ascent."""
NUM_GLOBAL_GROUPS, GLOBAL_GROUP_SIZE = 4, 256
"""Groups of candidates that cover the space; the best of each group starts one local ascent."""
NUM_LOCAL_GROUPS, LOCAL_GROUP_SIZE = 4, 64
"""Groups of candidates around the best points, one group for each, used in the same way."""
WORST_VALUE = 10.0
"""Normalized value that every point improves on."""
MAX_ALTERNATIONS = 20
"""Maximum number of alternations of continuous and discrete steps in a local ascent."""


class LogExpectedImprovement:
    """Logarithm of the expected improvement on the best point.

    The best is the lowest posterior mean at a training point, since the lowest value may be noise.
    Before the first point, the acquisition value is highest where the mean is lowest.
    """

    def __init__(self, gp: GaussianProcess) -> None:
        own_mean = gp.train_posterior_mean[: len(gp.x_train)]
        self.gp, self.best_f = gp, float(own_mean.min(initial=WORST_VALUE))

    def evaluate(self, x: Array) -> Array:
        """Return the acquisition values of points (n, columns)."""
        mean, std = self.gp.posterior(x)
        return log_ei_and_grad((self.best_f - mean) / std)[0] + np.log(std)

    def value_and_grad(self, x: Array) -> tuple[float, Array]:
        """Return the acquisition value of one point, and its gradient."""
        mean, std, mean_grad, std_grad = self.gp.posterior_and_grad(x)
        z = (self.best_f - mean) / std
        value, z_grad = log_ei_and_grad(np.array(z))
        x_grad = (std_grad - z_grad * (mean_grad + z * std_grad)) / std
        return float(value) + math.log(std), x_grad


def log_ei_and_grad(z: Array) -> tuple[Array, Array]:
    """Return log E[max(0, z + e)] for a standard normal e, and its derivative with respect to z.

    Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization
    (2023): for z far below 0, where the direct formula underflows, use erfcx, and further below
    its asymptotic limit.
    """
    low_z = np.clip(z, -1e8, 5.0)
    cdf_over_pdf = math.sqrt(math.pi / 2) * erfcx(-low_z / math.sqrt(2))  # Phi(z) / phi(z)
    tail = 1 / np.square(np.minimum(low_z, -1))
    ei_over_pdf = np.where(low_z > -1e3, 1 + low_z * cdf_over_pdf, tail)
    value = np.log(ei_over_pdf) - np.square(z) / 2 - math.log(2 * math.pi) / 2
    high_z = np.maximum(z, 5.0)  # from here on, the expectation is z up to rounding
    grad = np.where(z > 5, 1 / high_z, cdf_over_pdf / ei_over_pdf)
    return np.where(z > 5, np.log(high_z), value), grad


def maximize_acquisition(
    cube: UnitCube, gp: GaussianProcess, rng: np.random.Generator
) -> Iterator[Array]:
    """Yield points in descending order of acquisition value.

    In a large space the local maxima come first, then the candidates from which they were reached.
    """
    acquisition = LogExpectedImprovement(gp)
    if cube.num_points <= MAX_ENUMERATED_POINTS:
        x = cube.all_points()
    else:
        groups = _sample_candidates(cube, gp, rng)
        starts = (group[acquisition.evaluate(group).argmax()] for group in groups)
        x = np.array([_optimize_alternating(cube, acquisition, start) for start in starts])
        yield from x[np.argsort(-acquisition.evaluate(x), kind="stable")]
        x = np.vstack(groups)
    yield from x[np.argsort(-acquisition.evaluate(x), kind="stable")]


def _sample_candidates(
    cube: UnitCube, gp: GaussianProcess, rng: np.random.Generator
) -> list[Array]:
    """Return groups of candidates, each (n, columns).

    Shifted Sobol points cover the space; other points surround the best ones at distances that are
    uniform on a logarithmic scale.
    """
    sobol = qmc.Sobol(len(cube.dimensions), scramble=False)
    sobol_points = sobol.random(NUM_GLOBAL_GROUPS * GLOBAL_GROUP_SIZE)
    global_points = cube.from_uniform((sobol_points + rng.random(len(cube.dimensions))) % 1)
    groups = np.split(global_points[rng.permutation(len(global_points))], NUM_GLOBAL_GROUPS)
    best_first = np.argsort(gp.train_posterior_mean, kind="stable")
    for best_x in gp.x_all[best_first[:NUM_LOCAL_GROUPS]]:
        center = cube.transform(cube.inverse_transform(best_x))  # prior tasks' may be outside
        directions = rng.normal(size=(LOCAL_GROUP_SIZE, len(center)))
        offsets = directions * 10.0 ** rng.uniform(-3.5, -0.5, (LOCAL_GROUP_SIZE, 1))
        groups.append(np.clip(center + np.where(cube.continuous_mask, offsets, 0.0), 0.0, 1.0))
    return groups


def _optimize_alternating(cube: UnitCube, acquisition: LogExpectedImprovement, x: Array) -> Array:
    """Return a local maximum reached from x.

    Alternate between L-BFGS-B in the continuous columns and a move to the best neighbor in a
    discrete parameter.
    """
    for _ in range(MAX_ALTERNATIONS):
        if cube.continuous_mask.any():
            x = _optimize_continuous(acquisition, x, cube.continuous_mask)
        neighbors = cube.neighbors(x)
        values = acquisition.evaluate(neighbors)
        if values.max() <= values[0] + 1e-9:
            break
        x = neighbors[values.argmax()]
    return x


def _optimize_continuous(
    acquisition: LogExpectedImprovement, x: Array, continuous_mask: Array
) -> Array:
    x = x.copy()

    def negative_acquisition(continuous_values: Array) -> tuple[float, Array]:
        x[continuous_mask] = continuous_values
        value, gradient = acquisition.value_and_grad(x)
        return -value, -gradient[continuous_mask]

    result = minimize(
        negative_acquisition,
        x[continuous_mask],
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * int(continuous_mask.sum()),
        options={"maxiter": 50},
    )
    x[continuous_mask] = result.x
    return x
