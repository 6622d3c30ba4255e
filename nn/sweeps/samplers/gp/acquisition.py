"""Where a Gaussian process expects to improve on the best point seen, and how much."""

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
"""A space of so many points is gone through; in a larger one the search climbs."""
GLOBAL_CANDIDATES, LOCAL_CANDIDATES = (4, 256), (4, 64)
"""Groups and points in each: all over the space, and around the best. Each sends one climber."""
MAX_ALTERNATIONS = 20


class LogExpectedImprovement:
    """The logarithm of how much a point is expected to improve on the best.

    The best is the lowest mean at a point seen, for the lowest value may be noise.
    """

    def __init__(self, gp: GaussianProcess) -> None:
        self.gp, self.best_f = gp, float(gp.train_posterior_mean.min())

    def evaluate(self, x: Array) -> Array:
        """The criterion at some points."""
        mean, std = self.gp.posterior(x)
        return log_ei_and_grad((self.best_f - mean) / std)[0] + np.log(std)

    def value_and_grad(self, x: Array) -> tuple[float, Array]:
        """The criterion at one point, and its gradient."""
        mean, std, mean_grad, std_grad = self.gp.posterior_and_grad(x)
        z = (self.best_f - mean) / std
        value, z_grad = log_ei_and_grad(np.array(z))
        x_grad = (std_grad - z_grad * (mean_grad + z * std_grad)) / std
        return float(value) + math.log(std), x_grad


def log_ei_and_grad(z: Array) -> tuple[Array, Array]:
    """The logarithm of E[max(0, z + e)] for a standard normal e, and its derivative.

    Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization
    (2023): what underflows far below 0 is written by erfcx, and further down by its limit.
    """
    low_z = np.clip(z, -1e8, 5.0)
    cdf_over_pdf = math.sqrt(math.pi / 2) * erfcx(-low_z / math.sqrt(2))  # distribution / density
    ei_over_pdf = np.where(
        low_z > -1e3, 1 + low_z * cdf_over_pdf, 1 / np.square(np.minimum(low_z, -1))
    )
    value = np.log(ei_over_pdf) - np.square(z) / 2 - math.log(2 * math.pi) / 2
    high_z = np.maximum(z, 5.0)  # from where on nothing but z is left of the expectation
    return np.where(z > 5, np.log(high_z), value), np.where(
        z > 5, 1 / high_z, cdf_over_pdf / ei_over_pdf
    )


def maximize_acquisition(
    cube: UnitCube, gp: GaussianProcess, rng: np.random.Generator
) -> Iterator[Array]:
    """Go through points by their criterion, the highest first."""
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
    """Points all over the space, and points at all distances from the best ones."""
    (num_groups, group_size), (num_centers, points_per_center) = GLOBAL_CANDIDATES, LOCAL_CANDIDATES
    sobol_points = qmc.Sobol(len(cube.dimensions), scramble=False).random(num_groups * group_size)
    global_points = cube.from_uniform((sobol_points + rng.random(len(cube.dimensions))) % 1)
    groups = np.split(global_points[rng.permutation(len(global_points))], num_groups)
    for center in gp.x_train[np.argsort(gp.train_posterior_mean, kind="stable")[:num_centers]]:
        offsets = rng.normal(size=(points_per_center, len(center))) * 10.0 ** rng.uniform(
            -3.5, -0.5, (points_per_center, 1)
        )
        groups.append(np.clip(center + np.where(cube.continuous_mask, offsets, 0.0), 0.0, 1.0))
    return groups


def _optimize_alternating(cube: UnitCube, acquisition: LogExpectedImprovement, x: Array) -> Array:
    """Go uphill: along the ranges by the gradient, then to the best listed value, and again."""
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
    def negative_acquisition(continuous_values: Array) -> tuple[float, Array]:
        candidate = x.copy()
        candidate[continuous_mask] = continuous_values
        value, gradient = acquisition.value_and_grad(candidate)
        return -value, -gradient[continuous_mask]

    bounds = [(0.0, 1.0)] * int(continuous_mask.sum())
    options = {"maxiter": 50}
    result = minimize(
        negative_acquisition,
        x[continuous_mask],
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options=options,
    )
    x = x.copy()
    x[continuous_mask] = result.x
    return x
