"""Image statistics are measured from the training images."""

from __future__ import annotations

import numpy as np
import pytest

from nn.data.input_spec import ImageStats


def framed_images(num_images, size, rows, columns, channels=1):
    images = np.zeros((num_images, channels, *size), np.float32)
    images[:, :, rows, columns] = 1
    return images


@pytest.mark.parametrize("channels", [1, 3])
def test_foreground_is_separated_from_the_background(channels):
    images = framed_images(5, (10, 20), slice(2, 6), slice(4, 16), channels)
    dark, light = ImageStats.from_images(images), ImageStats.from_images(1 - images)
    assert dark.has_dark_background
    assert not dark.has_light_background
    assert light.has_light_background
    assert not light.has_dark_background
    for stats in dark, light:
        assert stats.extent == pytest.approx(0.6)
        assert (stats.center_y, stats.center_x) == pytest.approx((0.4, 0.5))


def test_centering_method_is_detected():
    rng = np.random.default_rng(0)
    by_frame = framed_images(40, (20, 20), slice(5, 15), slice(5, 15))
    for image in by_frame[:, 0]:
        image[6:14, 6 : rng.integers(7, 14)] = 0.5
    by_ink = np.zeros_like(by_frame)
    for image in by_ink[:, 0]:
        image[8:12, 8:12] = 1
        image[9:11, 12 : rng.integers(13, 18)] = 0.5
    assert not ImageStats.from_images(by_frame).centered_by_mass
    assert ImageStats.from_images(by_ink).centered_by_mass


def test_stats_are_robust_to_noise_and_blank_images():
    rng = np.random.default_rng(0)
    images = framed_images(50, (28, 28), slice(4, 24), slice(9, 19))
    noisy = np.clip(images + rng.uniform(-0.1, 0.1, images.shape), 0, 1)
    noisy[::2] = 0
    stats = ImageStats.from_images(noisy)
    assert stats.extent == pytest.approx(20 / 28)
    assert (stats.center_y, stats.center_x) == pytest.approx((0.5, 0.5), abs=0.01)


@pytest.mark.parametrize("value", [0, 0.5, 1])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8)])
def test_blank_images_have_valid_stats(value, size):
    stats = ImageStats.from_images(np.full((3, 1, *size), value, np.float32))
    assert stats.background == value
    assert 0 < stats.extent <= 1
    assert 0 <= min(stats.center_y, stats.center_x) <= max(stats.center_y, stats.center_x) <= 1
