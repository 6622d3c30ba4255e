from __future__ import annotations

import pytest

from nn.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    OneCycle,
    Progress,
    ReduceOnPlateau,
    Step,
)

SCHEDULES = [Constant, Step, Exponential, InverseTime, Cosine, OneCycle, ReduceOnPlateau]
STEPS, STEPS_PER_EPOCH = 200, 20


def lr_factors(schedule):
    return [schedule(Progress(step, STEPS, STEPS_PER_EPOCH)) for step in range(STEPS)]


def test_schedules_match_their_formulas():
    assert set(lr_factors(Constant())) == {1.0}
    assert lr_factors(Step(step_size=2, gamma=0.5))[::40] == [1, 0.5, 0.25, 0.125, 0.0625]
    assert lr_factors(Exponential(gamma=0.9))[::20] == pytest.approx([0.9**n for n in range(10)])
    assert lr_factors(InverseTime(decay_rate=1))[::20] == pytest.approx(
        [1 / (1 + n) for n in range(10)]
    )
    wave = lr_factors(Cosine(final_factor=0.1))
    assert (wave[0], wave[-1]) == pytest.approx((1, 0.1))
    assert wave == sorted(wave, reverse=True)


def test_one_cycle_rises_to_the_peak_and_falls_near_zero():
    cycle = lr_factors(OneCycle(pct_start=0.3, div_factor=25, final_div_factor=1e4))
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle.index(max(cycle)) == 59
    assert cycle[59] == pytest.approx(1)
    assert cycle[-1] == pytest.approx(1 / 25e4)
    assert cycle[:60] == sorted(cycle[:60])
    assert cycle[59:] == sorted(cycle[59:], reverse=True)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_warmup_precedes_any_schedule(kind):
    plain, warmed = lr_factors(kind()), lr_factors(kind(warmup_epochs=2))
    expected = [min(1, (step + 1) / 40) * factor for step, factor in enumerate(plain)]
    assert warmed == pytest.approx(expected)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_shortest_runs_get_a_valid_factor(kind, steps):
    for step in range(steps):
        assert 0 <= kind()(Progress(step, steps, 1)) <= 1


def test_plateau_reduces_the_learning_rate_after_patience():
    schedule = ReduceOnPlateau(factor=0.5, patience=1, min_factor=0.2)
    found_factors = []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8):
        schedule.update(loss)
        found_factors.append(schedule(Progress(0, STEPS, STEPS_PER_EPOCH)))
    assert found_factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]
