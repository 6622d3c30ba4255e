from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.data.augmentation import Augmentation
from nn.errors import SettingError, UserError
from tests.strategies import seeds


def cross_images(count=64, side=12, seed=0):
    """Return bright crosses, slightly off center so that no reflection maps them to themselves."""
    x = np.zeros((count, 1, side, side), np.float32)
    x[:, :, 4, 2:9] = 1
    x[:, :, 2:9, 4] = 1
    return x


def augment(batch, seed=0, background=0.0, **settings):
    return Augmentation(**settings).apply(batch, background, np.random.default_rng(seed))


STRENGTHS = {
    "shift": 0.2,
    "rotation": 15.0,
    "scale": 0.2,
    "shear": 0.2,
    "flip": True,
    "noise": 0.1,
    "erase": 0.5,
}


@pytest.mark.parametrize("kind", STRENGTHS)
def test_each_transform_changes_every_image_differently(kind):
    changed = augment(cross_images(), **{kind: STRENGTHS[kind]})
    assert changed.shape == cross_images().shape
    assert changed.dtype == np.float32
    assert not np.array_equal(changed, cross_images())
    assert len(np.unique(changed.reshape(64, -1), axis=0)) > (1 if kind == "flip" else 10)


@pytest.mark.parametrize("kind", STRENGTHS)
def test_augmentation_is_reproducible(kind):
    first, second = (augment(cross_images(), seed=3, **{kind: STRENGTHS[kind]}) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_default_augmentation_is_the_identity():
    assert not Augmentation().is_active
    np.testing.assert_array_equal(augment(cross_images()), cross_images())


def test_whole_pixel_shift_moves_pixels_exactly():
    class MaxGenerator:
        def uniform(self, low, high, size):
            return np.full(size, high)

    x = np.random.default_rng(0).random((3, 2, 6, 6)).astype(np.float32)
    moved = Augmentation(shift=1 / 3).apply(x, 7.0, MaxGenerator())
    np.testing.assert_allclose(moved[:, :, :4, :4], x[:, :, 2:, 2:], atol=2e-3)
    np.testing.assert_allclose(moved[:, :, 4:], 7, atol=7e-2)


@settings(max_examples=30)
@given(st.floats(0, 180), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), seeds)
def test_affine_output_stays_within_the_input_range(rotation, scale, shear, shift, seed):
    batch = np.random.default_rng(seed).random((4, 1, 7, 9)).astype(np.float32)
    low, high = batch.min(), batch.max()
    changed = augment(batch, seed, low, rotation=rotation, scale=scale, shear=shear, shift=shift)
    assert np.isfinite(changed).all()
    assert changed.min() >= low - 1e-5
    assert changed.max() <= high + 1e-5


def test_rotation_keeps_the_center():
    x = np.zeros((500, 1, 11, 11), np.float32)
    x[:, :, 5, :] = 1
    turned = augment(x, rotation=90)
    assert (turned[:, 0, 5, 5] > 0.9).all()
    assert np.mean(turned[:, 0, 5, 0] > 0.5) < 0.2


def test_about_half_of_the_images_are_flipped():
    x = np.tile(np.arange(5, dtype=np.float32), (400, 1, 5, 1))
    mirrored = augment(x.copy(), flip=True)
    same = (mirrored == x).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(mirrored[~same], x[~same][..., ::-1])
    assert 0.4 < same.mean() < 0.6


def test_erased_area_stays_within_its_limit():
    erased = augment(np.ones((500, 1, 20, 20), np.float32), erase=0.5)
    blank = (erased == 0).mean(axis=(1, 2, 3))
    assert blank.max() <= 0.5**2 + 0.06
    assert 0.03 < blank.mean() < 0.1


@pytest.mark.parametrize("kind", [kind for kind in STRENGTHS if kind != "flip"])
def test_settings_out_of_range_are_refused_by_name(kind):
    with pytest.raises(SettingError, match=kind):
        Augmentation(**{kind: -0.1})


def test_non_image_samples_are_refused():
    with pytest.raises(UserError, match=r"samples of shape \(64,\) are not images"):
        Augmentation(shift=0.1).check_shape((64,))
    Augmentation().check_shape((64,))
