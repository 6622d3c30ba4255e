"""The Gaussian process matches the textbook, and its gradients match finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from nn.sweeps.samplers.gp.acquisition import LogExpectedImprovement, log_ei_and_grad
from nn.sweeps.samplers.gp.fit import (
    fit_gp,
    log_prior,
    negative_log_posterior,
    squared_distances,
    subsample,
)
from nn.sweeps.samplers.gp.gaussian_process import (
    MIN_NOISE_VARIANCE,
    GaussianProcess,
    KernelParams,
    PriorProcess,
    estimate_mean,
    inverse_cholesky,
    is_same_point,
    is_same_seed,
    matern52,
)
from tests.strategies import numerical_gradient, seeds

GROUPS = np.array([0, 1, 1, 1, 2])  # two numbers and, between them, three categories


def random_points(seed, count=12):
    """Draw points and evaluate a bumpy function there."""
    rng = np.random.default_rng(seed)
    x = rng.random((count, len(GROUPS)))
    x[:, GROUPS == 1] = np.eye(3)[rng.integers(0, 3, count)] / math.sqrt(2)
    return x, np.sin(5 * x[:, 0]) + x[:, 1] + 0.1 * rng.normal(size=count)


def textbook_process(seed):
    """Return a process and its covariance matrix, computed by the formula with loops."""
    x, y = random_points(seed)
    kernel = KernelParams(np.array([4.0, 0.5, 0.1]), 1.3, 0.01)

    def covariance(a, b):
        square = sum(
            kernel.inverse_squared_lengthscales[group] * (s - t) ** 2
            for group, s, t in zip(GROUPS, a, b, strict=True)
        )
        root = math.sqrt(5 * square)
        return kernel.output_scale * (1 + root + root**2 / 3) * math.exp(-root)

    covariance_matrix = np.array(
        [[covariance(a, b) for b in x] for a in x]
    ) + kernel.noise_variance * np.eye(len(x))
    return GaussianProcess(kernel, GROUPS, x, y), covariance_matrix, covariance


@given(seeds)
@settings(max_examples=20)
def test_likelihood_gradient_matches_finite_differences(seed):
    x, y = random_points(seed)
    squares = squared_distances(x, GROUPS)
    at = np.random.default_rng(seed).normal(0, 1, 5) - [0, 0, 0, 0, 3]
    expected = numerical_gradient(lambda: negative_log_posterior(at, squares, y)[0], at)
    assert negative_log_posterior(at, squares, y)[1] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    expected = numerical_gradient(lambda: log_prior(at)[0], at)
    assert log_prior(at)[1] == pytest.approx(expected, rel=1e-6, abs=1e-7)


def prior_processes(seed):
    """Return two prior tasks' processes, of 12 and 5 points, with weights."""
    first = GaussianProcess(
        KernelParams(np.array([2.0, 1.0, 0.3]), 0.8, 0.02), GROUPS, *random_points(seed + 50)
    )
    second = GaussianProcess(
        KernelParams(np.array([0.5, 3.0, 1.0]), 1.5, 0.1), GROUPS, *random_points(seed + 60, 5)
    )
    return [PriorProcess(first, 0.7), PriorProcess(second, 0.2)]


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_likelihood_gradient_with_prior_tasks_matches_finite_differences(seed):
    x, y = random_points(seed)
    squares = squared_distances(x, GROUPS)
    priors = [gp.joint_posterior(x) for gp, _ in prior_processes(seed % 1000)]
    at = np.random.default_rng(seed).normal(0, 1, 7) - [0, 0, 0, 0, 3, 0, 0]
    expected = numerical_gradient(lambda: negative_log_posterior(at, squares, y, priors)[0], at)
    _, gradient = negative_log_posterior(at, squares, y, priors)
    assert gradient == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 12])
def test_posterior_with_prior_tasks_matches_that_of_their_weighted_sum(count):
    x, y = random_points(3, count)
    priors = prior_processes(0)
    kernel = KernelParams(np.array([4.0, 0.5, 0.1]), 0.4, 0.01)
    gp = GaussianProcess(kernel, GROUPS, x, y, priors)
    new, _ = random_points(4, 6)
    both = np.vstack([x, new])
    covariance = gp.kernel(both, both)  # of the difference
    mean = np.zeros(len(both))
    for prior, weight in priors:
        posterior = prior.joint_posterior(both)
        covariance = covariance + weight**2 * posterior.covariance
        mean = mean + weight * (posterior.mean - prior._mean)
    inverse = np.linalg.inv(covariance[:count, :count] + 0.01 * np.eye(count))
    ones, residual = np.ones(count), y - mean[:count]
    offset = ones @ inverse @ residual / (ones @ inverse @ ones) if count else 0.0
    gain = covariance[count:, :count] @ inverse
    variance = np.diag(covariance[count:, count:] - gain @ covariance[:count, count:])
    found = gp.posterior(new)
    assert found[0] == pytest.approx(offset + mean[count:] + gain @ (residual - offset))
    assert found[1] == pytest.approx(np.sqrt(variance))


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_matches_scipy_multivariate_normal(seed):
    gp, among, _ = textbook_process(seed)
    kernel = gp.kernel_params
    logarithms = np.log(
        [
            *kernel.inverse_squared_lengthscales,
            kernel.output_scale,
            kernel.noise_variance - MIN_NOISE_VARIANCE,
        ]
    )
    ones = np.ones(len(among))
    mean = ones @ np.linalg.solve(among, gp.y_train) / (ones @ np.linalg.solve(among, ones))
    density = stats.multivariate_normal(np.full(len(among), mean), among).logpdf(gp.y_train)
    constant = len(among) * math.log(2 * math.pi) / 2
    value, _ = negative_log_posterior(logarithms, squared_distances(gp.x_train, GROUPS), gp.y_train)
    assert value == pytest.approx(-density - constant - log_prior(logarithms)[0])


@pytest.mark.parametrize("seed", range(3))
def test_posterior_matches_the_textbook_formula(seed):
    gp, among, covariance = textbook_process(seed)
    new, _ = random_points(seed + 100, 4)
    inverse, ones = np.linalg.inv(among), np.ones(len(among))
    mean = ones @ inverse @ gp.y_train / (ones @ inverse @ ones)
    for point, expected, deviation in zip(new, *gp.posterior(new), strict=True):
        across = np.array([covariance(point, each) for each in gp.x_train])
        assert expected == pytest.approx(mean + across @ inverse @ (gp.y_train - mean))
        variance = covariance(point, point) - across @ inverse @ across
        assert deviation == pytest.approx(math.sqrt(variance))


@given(seeds)
@settings(max_examples=20)
def test_posterior_gradients_match_finite_differences(seed):
    x, y = random_points(seed)
    kernel, priors = KernelParams(np.array([3.0, 1.0, 0.2]), 1.1, 0.01), prior_processes(seed % 9)
    gp = GaussianProcess(kernel, GROUPS, x, y, priors[: seed % 3])
    criterion, (at,) = LogExpectedImprovement(gp), random_points(seed + 1, 1)[0]
    mean, deviation, by_mean, by_deviation = gp.posterior_and_grad(at)
    assert (mean, deviation) == pytest.approx([float(each[0]) for each in gp.posterior(at[None])])
    for gradient, function in (
        (by_mean, lambda: gp.posterior(at[None])[0][0]),
        (by_deviation, lambda: gp.posterior(at[None])[1][0]),
        (criterion.value_and_grad(at)[1], lambda: criterion.evaluate(at[None])[0]),
    ):
        assert gradient == pytest.approx(numerical_gradient(function, at), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("z", [-6.0, -2.0, 0.0, 1.0, 4.9, 5.1, 9.0])
def test_expected_improvement_matches_its_integral(z):
    integral, _ = integrate.quad(lambda e: (z + e) * stats.norm.pdf(e), -z, max(-z, 0) + 12)
    assert log_ei_and_grad(np.array(z))[0] == pytest.approx(math.log(integral), abs=2e-6)


@given(st.floats(-1e6, 1e3))
def test_log_expected_improvement_has_a_gradient_everywhere(z):
    value, slope = log_ei_and_grad(np.array(z))
    step = 1e-4 * max(1.0, abs(z))
    below, above = (log_ei_and_grad(np.array(z + move))[0] for move in (-step, step))
    assert below < value < above
    assert slope == pytest.approx((above - below) / (2 * step), rel=1e-2, abs=1e-4)


def test_fantasies_keep_the_mean_and_reduce_the_variance():
    x, y = random_points(0)
    gp, new = fit_gp(x, y, GROUPS), random_points(1, 3)[0]
    believing = gp.fantasize(new)
    before, after = gp.posterior(new), believing.posterior(new)
    assert after[0] == pytest.approx(before[0], abs=0.05)
    assert (after[1] < before[1]).all()


def test_irrelevant_dimension_gets_a_long_lengthscale():
    rng = np.random.default_rng(0)
    x = rng.random((40, 2))
    y = np.sin(6 * x[:, 0])
    kernel = fit_gp(x, (y - y.mean()) / y.std(), np.arange(2)).kernel_params
    assert kernel.inverse_squared_lengthscales[0] > 10 * kernel.inverse_squared_lengthscales[1]
    assert kernel.noise_variance < 1e-3


def test_noise_level_is_recovered():
    rng = np.random.default_rng(0)
    x = rng.random((80, 1))
    y = np.sin(6 * x[:, 0]) + 0.3 * rng.normal(size=80)
    gp = fit_gp(x, (y - y.mean()) / y.std(), np.array([0]))
    assert math.sqrt(gp.kernel_params.noise_variance) * y.std() == pytest.approx(0.3, rel=0.3)


def test_clustered_values_do_not_dominate_the_mean():
    x = np.array([[0.0], [1.0], *[[1 + 1e-3 * i] for i in range(50)]])
    similarity, _ = matern52(25 * (x - x.T) ** 2)
    inverse = inverse_cholesky(similarity + 1e-6 * np.eye(len(x)))
    values = np.where(x[:, 0] < 0.5, 1.0, 0.0)
    assert estimate_mean(inverse, values, np.ones(len(x))) == pytest.approx(0.5, abs=0.05)


def test_subsampling_keeps_the_best_and_latest_points():
    y = np.array([5.0, 1.0, 4.0, 3.0, 9.0, 8.0])
    assert sorted(subsample(y, 4)) == [1, 3, 4, 5]
    assert sorted(subsample(y, 10)) == list(range(6))


def wave(x):
    return np.sin(6 * x[:, 0]) + x[:, 1]


def prior_and_own_points():
    """Return a process of 40 values of a wave, and six other points."""
    x = np.random.default_rng(0).random((46, 2))
    return fit_gp(x[:40], wave(x[:40]), np.arange(2)), x[40:]


def test_values_of_the_same_task_count_like_own_observations():
    prior, x = prior_and_own_points()
    gp = fit_gp(x, wave(x), np.arange(2), [prior])
    alone = fit_gp(x, wave(x), np.arange(2))
    new = np.random.default_rng(1).random((50, 2))
    assert [weight for _, weight in gp.priors] == pytest.approx([1], abs=0.1)
    errors = [np.abs(each.posterior(new)[0] - wave(new)).mean() for each in (gp, alone)]
    assert errors[0] < 0.1 * errors[1]
    assert gp.posterior(new)[1].mean() < 0.5 * alone.posterior(new)[1].mean()


def test_scale_and_offset_of_a_prior_task_are_fitted():
    prior, x = prior_and_own_points()
    gp = fit_gp(x, 3 * wave(x) - 7, np.arange(2), [prior])
    new = np.random.default_rng(1).random((50, 2))
    assert gp.posterior(new)[0] == pytest.approx(3 * wave(new) - 7, abs=0.5)


def test_unrelated_task_is_left_out():
    prior, x = prior_and_own_points()
    new = np.random.default_rng(1).random((5, 2))
    for y in (-wave(x), np.random.default_rng(0).normal(size=len(x))):
        gp, alone = fit_gp(x, y, np.arange(2), [prior]), fit_gp(x, y, np.arange(2))
        assert gp.posterior(new)[0] == pytest.approx(alone.posterior(new)[0], abs=1e-9)


def test_one_of_several_prior_tasks_is_selected():
    prior, x = prior_and_own_points()
    opposite = fit_gp(prior.x_train, -prior.y_train, np.arange(2))
    gp = fit_gp(x, wave(x), np.arange(2), [opposite, prior])
    assert [each.gp for each in gp.priors] == [prior]
    assert gp.priors[0].weight > 0.7


def test_gradient_with_effects_of_points_and_seeds():
    rng = np.random.default_rng(0)
    x, replicates = np.repeat(rng.random((6, 2)), 2, axis=0), np.tile([0, 1], 6)
    y, sq_distances = rng.normal(size=12), squared_distances(x, np.arange(2))
    effects = [is_same_point(x, x), is_same_seed(replicates, replicates)]
    log_params = rng.normal(size=6) - 1
    arguments = (sq_distances, y, (), effects, 1.0)
    _, grad = negative_log_posterior(log_params, *arguments)
    for index, step in enumerate(1e-6 * np.eye(6)):
        above, below = (
            negative_log_posterior(log_params + sign * step, *arguments)[0] for sign in (1, -1)
        )
        assert grad[index] == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-6)


def test_effects_of_seeds_are_told_from_noise_and_from_points():
    rng = np.random.default_rng(0)
    x, replicates = np.repeat(rng.random((40, 1)), 3, axis=0), np.tile([0, 1, 2], 40)
    y = np.sin(6 * x[:, 0]) + np.array([-0.5, 0.0, 0.5])[replicates] + 0.1 * rng.normal(size=120)
    params = fit_gp(x, y, np.zeros(1, int), replicates=replicates).kernel_params
    assert params.noise_variance**0.5 == pytest.approx(0.1, rel=0.2)
    assert 0.2 < params.seed_variance**0.5 < 1.5
    assert params.point_variance < 0.01


def test_fantasies_of_replicates_change_no_mean():
    rng = np.random.default_rng(0)
    x, replicates = np.repeat(rng.random((5, 1)), 2, axis=0), np.tile([0, 1], 5)
    gp = fit_gp(x, x[:, 0] + 0.3 * replicates, np.zeros(1, int), replicates=replicates)
    fantasized = gp.fantasize(np.vstack([x[:1], [[0.9]]]), np.array([2, 0]))
    assert fantasized.posterior(x)[0] == pytest.approx(gp.posterior(x)[0], abs=1e-4)
