from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn.errors import SettingError
from nn.models import MLP


@pytest.mark.parametrize(
    ("depth", "width", "taper", "units"),
    [
        (2, 128, 0.5, [128, 64]),
        (3, 100, 1.0, [100, 100, 100]),
        (1, 7, 0.1, [7]),
        (3, 100, 0.29, [100, 29, 8]),
        (0, None, None, []),
    ],
)
def test_depth_width_and_taper_determine_the_hidden_layers(depth, width, taper, units):
    assert MLP(depth=depth, width=width, taper=taper).widths == units


def test_hidden_layers_can_be_listed_explicitly():
    assert MLP(hidden=[196, 49]).widths == [196, 49]


@given(st.integers(0, 20), st.integers(1, 500), st.floats(0.01, 1))
def test_taper_leaves_units_in_every_layer_or_is_refused(depth, width, taper):
    narrowest = round(width * taper ** (depth - 1)) if depth else 1
    if narrowest:
        units = MLP(depth=depth, width=width, taper=taper).widths
        assert len(units) == depth
        assert all(unit >= 1 for unit in units)
    else:
        with pytest.raises(SettingError, match="taper"):
            MLP(depth=depth, width=width, taper=taper)
