import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from nn.sweeps.importance import ParamImportances, get_param_importances
from nn.sweeps.samplers.base import ObservedTrial
from nn.sweeps.schema import parse_distribution
from nn.sweeps.space import SearchSpace
from nn.sweeps.trials_reader import load_sweep_trials
from tests.report.factories import make_sweep

SPACE = SearchSpace(
    {
        name: parse_distribution(name, config, is_grid=False)
        for name, config in {
            "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0},
            "width": {"values": [16, 256, 64, 1024]},
            "optimizer": {"values": ["sgd", "adam", "momentum"]},
            "dropout": {"min": 0.0, "max": 0.5},
        }.items()
    }
)


def draw_trials(objective, num_trials, seed=0):
    rng = np.random.default_rng(seed)
    points = [
        {name: distribution.ppf(rng.random()) for name, distribution in SPACE.parameters.items()}
        for _ in range(num_trials)
    ]
    return [
        ObservedTrial(number, point, TrialState.COMPLETE, objective(point, rng))
        for number, point in enumerate(points)
    ]


def loss(point, rng):
    """Depends on all parameters but dropout, and on the optimizer not in the order of its list."""
    return (
        (np.log10(point["lr"]) + 1) ** 2
        + 0.3 * np.log2(point["width"])
        + {"sgd": 0.0, "adam": 1.0, "momentum": 0.1}[point["optimizer"]]
        + 0.05 * rng.standard_normal()
    )


@pytest.mark.parametrize(("num_trials", "tolerance"), [(50, 0.15), (200, 0.06), (1000, 0.03)])
def test_shares_are_those_of_the_variance(num_trials, tolerance):
    variances = {"lr": 1.2, "width": 0.45, "optimizer": 0.2022, "dropout": 0.0}
    found = get_param_importances(SPACE, draw_trials(loss, num_trials)).shares
    total = sum(variances.values())
    expected = {name: variance / total for name, variance in variances.items()}
    assert found == pytest.approx(expected, abs=tolerance)
    assert [*found] == [*expected]
    assert sum(found.values()) == pytest.approx(1)


def test_shares_of_uniform_parameters_agree_with_optuna():
    space = SearchSpace(
        {
            name: parse_distribution(name, {"min": 0.0, "max": 1.0}, is_grid=False)
            for name in ("a", "b", "c")
        }
    )
    rng, study, trials = np.random.default_rng(0), optuna.create_study(), []
    for number in range(100):
        point = dict(zip("abc", rng.random(3).tolist(), strict=True))
        value = 6 * (point["a"] - 0.3) ** 2 + 2 * point["b"] + 0.1 * rng.standard_normal()
        trials.append(ObservedTrial(number, point, TrialState.COMPLETE, value))
        study.add_trial(
            create_trial(value=value, params=point, distributions=space.optuna_distributions)
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert get_param_importances(space, trials).shares == pytest.approx(expected, abs=0.03)


def test_most_important_parameter_is_found_in_forty_trials():
    found = [
        next(iter(get_param_importances(SPACE, draw_trials(loss, 40, seed)).shares))
        for seed in range(50)
    ]
    assert found.count("lr") >= 49


@pytest.mark.parametrize(
    "objective",
    [
        lambda point, rng: 0.5,
        lambda point, rng: 1e308 * rng.choice([-1, 1]),
        lambda point, rng: 1.0 + 1e-16 * point["lr"],
        lambda point, rng: 5e-324 * rng.integers(3),
    ],
)
def test_extreme_objectives_are_no_problem(objective):
    found = get_param_importances(SPACE, draw_trials(objective, 20))
    assert found.num_trials == 20
    assert not found.shares or sum(found.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "config",
    [
        {"distribution": "q_uniform", "min": 9, "max": 14, "q": 2},
        {"distribution": "q_uniform", "min": 9, "max": 900, "q": 2},
        {"distribution": "int_uniform", "min": 1, "max": 1000},
        {"values": [True, False, None]},
        {"values": [[64], [64, 32], "all"]},
        {"values": [*range(100)]},
    ],
)
@pytest.mark.parametrize("is_grid", [False, True])
def test_every_kind_of_parameter_can_be_important(config, is_grid):
    distributions = {
        "important": parse_distribution("important", config, is_grid=is_grid),
        "other": parse_distribution("other", {"values": [1, 2, 3]}, is_grid=is_grid),
    }
    space, rng, trials = SearchSpace(distributions), np.random.default_rng(0), []
    for number in range(40):
        point = {name: each.ppf(rng.random()) for name, each in distributions.items()}
        value = len(str(point["important"])) + rng.random() / 100
        trials.append(ObservedTrial(number, point, TrialState.COMPLETE, value))
    shares = get_param_importances(space, trials).shares
    assert next(iter(shares)) == "important"


def test_equal_objectives_give_no_estimate():
    trials = draw_trials(lambda *_: 0.5, 20)
    assert get_param_importances(SPACE, trials) == ParamImportances({}, 20)


@pytest.mark.parametrize(
    ("count", "parameters", "few"),
    [(4, 1, True), (9, 1, True), (10, 1, False), (20, 3, True), (30, 3, False)],
)
def test_importance_from_few_trials_comes_with_a_caution(count, parameters, few):
    shares = {str(number): 1 / parameters for number in range(parameters)}
    caution = ParamImportances(shares, count).warning
    assert bool(caution) == few
    if few:
        assert caution.startswith(f"{count} finished points are few for this estimate")
        assert f"at least {10 * parameters} " in caution


def test_importance_counts_finished_trials_and_varied_parameters(tmp_path):
    make_sweep(tmp_path / "s", 12, states=("finished", "pruned", "failed"))
    found = load_sweep_trials(tmp_path / "s").get_param_importances()
    assert found.num_trials == 4
    assert found.shares.keys() == {"lr", "optimizer", "depth"}
    assert "at least 30 " in found.warning


def test_importance_is_estimated_from_a_limited_number_of_trials(tmp_path, monkeypatch):
    make_sweep(tmp_path / "s", 40)
    sweep_trials = load_sweep_trials(tmp_path / "s")
    all_trials = sweep_trials.get_param_importances()
    monkeypatch.setattr("nn.sweeps.importance.MAX_IMPORTANCE_TRIALS", 20)
    found = sweep_trials.get_param_importances()
    assert (all_trials.num_trials, found.num_trials) == (40, 20)
    assert max(found.shares, key=found.shares.get) == "lr"
