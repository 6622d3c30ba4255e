"""Image statistics are measured from the training images."""

from __future__ import annotations

import numpy as np
import pytest

from nn.data.input_spec import ImageStats


def frames(count, size, rows, columns, channels=1):
    images = np.zeros((count, channels, *size), np.float32)
    images[:, :, rows, columns] = 1
    return images


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_shown_is_told_from_the_background(channels):
    images = frames(5, (10, 20), slice(2, 6), slice(4, 16), channels)
    dark, light = ImageStats.from_images(images), ImageStats.from_images(1 - images)
    assert dark.has_dark_background
    assert not dark.has_light_background
    assert light.has_light_background
    assert not light.has_dark_background
    for look in dark, light:
        assert look.extent == pytest.approx(0.6)
        assert (look.down, look.across) == pytest.approx((0.4, 0.5))


def test_what_images_are_placed_by_is_found():
    chance = np.random.default_rng(0)
    by_frame = frames(40, (20, 20), slice(5, 15), slice(5, 15))
    for image in by_frame[:, 0]:
        image[6:14, 6 : chance.integers(7, 14)] = 0.5
    by_ink = np.zeros_like(by_frame)
    for image in by_ink[:, 0]:
        image[8:12, 8:12] = 1
        image[9:11, 12 : chance.integers(13, 18)] = 0.5
    assert not ImageStats.from_images(by_frame).weighed
    assert ImageStats.from_images(by_ink).weighed


def test_noise_and_blank_images_change_little():
    chance = np.random.default_rng(0)
    images = frames(50, (28, 28), slice(4, 24), slice(9, 19))
    noisy = np.clip(images + chance.uniform(-0.1, 0.1, images.shape), 0, 1)
    noisy[::2] = 0
    look = ImageStats.from_images(noisy)
    assert look.extent == pytest.approx(20 / 28)
    assert (look.down, look.across) == pytest.approx((0.5, 0.5), abs=0.01)


@pytest.mark.parametrize("value", [0, 0.5, 1])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8)])
def test_images_that_show_nothing_have_a_look_too(value, size):
    look = ImageStats.from_images(np.full((3, 1, *size), value, np.float32))
    assert look.background == value
    assert 0 < look.extent <= 1
    assert 0 <= min(look.down, look.across) <= max(look.down, look.across) <= 1
