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

KINDS = [Constant, Step, Exponential, InverseTime, Cosine, OneCycle, ReduceOnPlateau]
STEPS, PER_EPOCH = 200, 20


def factors(schedule):
    return [schedule(Progress(step, STEPS, PER_EPOCH)) for step in range(STEPS)]


def test_each_goes_its_way():
    assert set(factors(Constant())) == {1.0}
    assert factors(Step(step_size=2, gamma=0.5))[::40] == [1, 0.5, 0.25, 0.125, 0.0625]
    assert factors(Exponential(gamma=0.9))[::20] == pytest.approx([0.9**n for n in range(10)])
    assert factors(InverseTime(decay_rate=1))[::20] == pytest.approx(
        [1 / (1 + n) for n in range(10)]
    )
    wave = factors(Cosine(final_factor=0.1))
    assert (wave[0], wave[-1]) == pytest.approx((1, 0.1))
    assert wave == sorted(wave, reverse=True)


def test_one_cycle_rises_to_the_top_and_falls_to_almost_nothing():
    cycle = factors(OneCycle(pct_start=0.3, div_factor=25, final_div_factor=1e4))
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle.index(max(cycle)) == 59
    assert cycle[59] == pytest.approx(1)
    assert cycle[-1] == pytest.approx(1 / 25e4)
    assert cycle[:60] == sorted(cycle[:60])
    assert cycle[59:] == sorted(cycle[59:], reverse=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_up_rises_in_front_of_any(kind):
    plain, warmed = factors(kind()), factors(kind(warmup_epochs=2))
    expected = [min(1, (step + 1) / 40) * factor for step, factor in enumerate(plain)]
    assert warmed == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_trainings_have_a_factor_too(kind, steps):
    for step in range(steps):
        assert 0 <= kind()(Progress(step, steps, 1)) <= 1


def test_a_plateau_lowers_the_rate_after_patience():
    schedule = ReduceOnPlateau(factor=0.5, patience=1, min_factor=0.2)
    seen = []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8):
        schedule.update(loss)
        seen.append(schedule(Progress(0, STEPS, PER_EPOCH)))
    assert seen == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]
