"""A machine without a heartbeat for the grace period is stale, however short that period is."""

from __future__ import annotations

import optuna
import pytest

from nn.sweeps import shared_study
from nn.sweeps.shared_study import Heartbeat


@pytest.fixture
def clock(monkeypatch):
    """A clock that is advanced by hand."""
    times = [1000.0]
    monkeypatch.setattr(shared_study.time, "monotonic", lambda: times[0])

    def advance(seconds):
        times[0] += seconds

    return advance


@pytest.mark.parametrize("grace_seconds", [1.0, 2.0, 60.0])
def test_dead_machine_is_stale_after_the_grace_period(clock, grace_seconds):
    study = optuna.create_study()
    dead, alive = Heartbeat(study, grace_seconds), Heartbeat(study, grace_seconds)
    dead.record_heartbeat()
    for _ in range(int(grace_seconds / 1.25) + 2):
        alive.read_heartbeats()
        clock(1.25)
    alive.read_heartbeats()
    assert alive.is_stale(dead.machine_id)


def test_suspended_machine_does_not_consider_others_dead(clock):
    study = optuna.create_study()
    other, suspended = Heartbeat(study, 10.0), Heartbeat(study, 10.0)
    other.record_heartbeat()
    suspended.read_heartbeats()
    clock(3600)
    suspended.read_heartbeats()
    assert not suspended.is_stale(other.machine_id)
