"""The input spec stored with the weights round-trips, or is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn.batches import NO_RESCALING, Rescaling
from nn.data.input_spec import ImageStats, InputSpec

CLASS_NAMES = ("a", "b")
POSITION_FIELDS = {"centered_by_mass": True, "center_y": 0.5, "center_x": 0.5}


def make_spec(images, peak=None):
    return InputSpec.from_samples(np.asarray(images), peak, NO_RESCALING, CLASS_NAMES)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.tuples(*[st.floats(-1e6, 1e6)] * 4),
    st.tuples(*[st.floats(0, 1)] * 4),
    st.lists(st.text(max_size=9), min_size=1),
)
def test_spec_round_trips_through_json(shape, numbers, shares, names):
    low, high, factor, offset = numbers
    background, extent, down, across = shares
    image = len(shape) == 3 and shape[0] in (1, 3)
    look = ImageStats(background, extent, low < high, down, across) if image else None
    inputs = InputSpec(
        shape=tuple(shape),
        low=low,
        high=high,
        is_bounded=low < high,
        image_stats=look,
        rescaling=Rescaling(factor, offset),
        class_names=tuple(names),
    )
    assert InputSpec.from_dict(json.loads(json.dumps(inputs.to_dict()))) == inputs


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [28, "28"]),
        ("shape", []),
        ("shape", [0, 3]),
        ("shape", [2**20, 2**20]),
        ("shape", [True]),
        ("low", "0"),
        ("high", float("inf")),
        ("image_stats", None),
        ("image_stats", {"background": 0.0}),
        ("image_stats", {"background": 0.0, "extent": 1.5, **POSITION_FIELDS}),
        ("image_stats", {"background": float("nan"), "extent": 1.0, **POSITION_FIELDS}),
        ("image_stats", {"background": False, "extent": 1.0, **POSITION_FIELDS}),
        (
            "image_stats",
            {"background": 0.0, "extent": 1.0, **POSITION_FIELDS, "centered_by_mass": 1},
        ),
        ("is_bounded", 1),
        ("rescaling", {"factor": 1.0}),
        ("rescaling", {"factor": 1.0, "offset": float("nan")}),
        ("class_names", "ab"),
        ("class_names", [1, 2]),
        ("class_names", []),
        ("more", 1),
    ],
)
def test_invalid_fields_are_refused(key, value):
    plain = make_spec(np.zeros((3, 1, 4, 4), np.uint8)).to_dict()
    with pytest.raises(ValueError, match="not a description of inputs"):
        InputSpec.from_dict({**plain, key: value})


@pytest.mark.parametrize("plain", [None, [], "inputs", {}])
def test_invalid_descriptions_are_refused(plain):
    with pytest.raises(ValueError, match="not a description of inputs"):
        InputSpec.from_dict(plain)


def test_only_images_have_image_stats():
    images = np.zeros((5, 1, 6, 6), np.uint8)
    assert make_spec(images, 255).image_stats == ImageStats(0, 1, False, 0.5, 0.5)
    assert make_spec(images.reshape(5, 36)).image_stats is None


def test_value_range_is_the_known_or_the_observed_one():
    images = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)
    known, seen = make_spec(images, 16), make_spec(images)
    assert (known.low, known.high, known.is_bounded) == (0, 16, True)
    assert (seen.low, seen.high, seen.is_bounded) == (0, 7, False)
    assert known.shape == (1, 2, 2)
