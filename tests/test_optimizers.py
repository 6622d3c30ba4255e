from __future__ import annotations

import numpy as np
import pytest

from nn.errors import SettingError
from nn.optimizers import SGD


def path_of(optimizer, start=1.0, lr=0.1, steps=3):
    """Go down the parabola whose gradient is the position."""
    position = np.array([start])
    optimizer.start(position)
    places = []
    for _ in range(steps):
        optimizer.step(position, position.copy(), lr)
        places.append(float(position[0]))
    return places


def test_plain_descent_follows_the_gradient():
    assert path_of(SGD()) == pytest.approx([0.9, 0.81, 0.729])


def test_momentum_remembers():
    # velocities 1, 0.9 + 0.9, 0.9 * 1.8 + 0.72
    assert path_of(SGD(momentum=0.9)) == pytest.approx([0.9, 0.72, 0.486])


def test_weight_decay_adds_to_the_gradient():
    assert path_of(SGD(weight_decay=1.0), steps=1) == pytest.approx([0.8])


@pytest.mark.parametrize("settings", [{"momentum": 1.0}, {"momentum": -0.1}, {"weight_decay": -1}])
def test_settings_out_of_range_are_refused_by_name(settings):
    (name,) = settings
    with pytest.raises(SettingError, match=name):
        SGD(**settings)
