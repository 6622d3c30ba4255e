from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.data.augmentation import Augmentation
from nn.errors import SettingError, UserError
from tests.strategies import seeds


def images(count=64, side=12, seed=0):
    """Return bright crosses, slightly off center so that no reflection maps them to themselves."""
    x = np.zeros((count, 1, side, side), np.float32)
    x[:, :, 4, 2:9] = 1
    x[:, :, 2:9, 4] = 1
    return x


def apply(batch, seed=0, background=0.0, **settings):
    return Augmentation(**settings).apply(batch, background, np.random.default_rng(seed))


KINDS = {
    "shift": 0.2,
    "rotation": 15.0,
    "scale": 0.2,
    "shear": 0.2,
    "flip": True,
    "noise": 0.1,
    "erase": 0.5,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_images_each_in_its_own_way(kind):
    changed = apply(images(), **{kind: KINDS[kind]})
    assert changed.shape == images().shape
    assert changed.dtype == np.float32
    assert not np.array_equal(changed, images())
    assert len(np.unique(changed.reshape(64, -1), axis=0)) > (1 if kind == "flip" else 10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_gives_the_same_images(kind):
    first, second = (apply(images(), seed=3, **{kind: KINDS[kind]}) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_nothing_asked_for_changes_nothing():
    assert not Augmentation().is_active
    np.testing.assert_array_equal(apply(images()), images())


def test_a_whole_shift_moves_pixels_as_they_are():
    class Highest:
        def uniform(self, low, high, size):
            return np.full(size, high)

    x = np.random.default_rng(0).random((3, 2, 6, 6)).astype(np.float32)
    moved = Augmentation(shift=1 / 3).apply(x, 7.0, Highest())
    np.testing.assert_allclose(moved[:, :, :4, :4], x[:, :, 2:, 2:], atol=2e-3)
    np.testing.assert_allclose(moved[:, :, 4:], 7, atol=7e-2)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 180), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), seeds)
def test_no_brightness_comes_from_nowhere(rotation, scale, shear, shift, seed):
    batch = np.random.default_rng(seed).random((4, 1, 7, 9)).astype(np.float32)
    low, high = batch.min(), batch.max()
    changed = apply(batch, seed, low, rotation=rotation, scale=scale, shear=shear, shift=shift)
    assert np.isfinite(changed).all()
    assert changed.min() >= low - 1e-5
    assert changed.max() <= high + 1e-5


def test_a_turn_keeps_the_middle_and_turns_the_rest():
    x = np.zeros((500, 1, 11, 11), np.float32)
    x[:, :, 5, :] = 1
    turned = apply(x, rotation=90)
    assert (turned[:, 0, 5, 5] > 0.9).all()
    assert np.mean(turned[:, 0, 5, 0] > 0.5) < 0.2


def test_about_half_of_the_images_are_mirrored():
    x = np.tile(np.arange(5, dtype=np.float32), (400, 1, 5, 1))
    mirrored = apply(x.copy(), flip=True)
    same = (mirrored == x).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(mirrored[~same], x[~same][..., ::-1])
    assert 0.4 < same.mean() < 0.6


def test_erased_rectangles_are_within_their_share():
    erased = apply(np.ones((500, 1, 20, 20), np.float32), erase=0.5)
    blank = (erased == 0).mean(axis=(1, 2, 3))
    assert blank.max() <= 0.5**2 + 0.06
    assert 0.03 < blank.mean() < 0.1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flip"])
def test_settings_out_of_range_are_refused_by_name(kind):
    with pytest.raises(SettingError, match=kind):
        Augmentation(**{kind: -0.1})


def test_samples_that_are_no_images_are_refused():
    with pytest.raises(UserError, match=r"samples of shape \(64,\) are not images"):
        Augmentation(shift=0.1).check_shape((64,))
    Augmentation().check_shape((64,))
