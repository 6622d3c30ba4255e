"""A photograph is transformed to match a training image of the same object."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nn.data.input_spec import ImageStats
from nn.predict.preprocessing import preprocess_image

INPUT_SIZE = (28, 28)
FRAMING_NOTE = "framed like the training images"


def hook_image():
    """Draw a training image: a hook that fits into a square of 20 pixels."""
    image = np.zeros(INPUT_SIZE)
    image[4:24, 15:18] = 255
    image[21:24, 9:18] = 255
    image[4:7, 12:18] = 255
    return image


IMAGE_STATS = ImageStats.from_images(hook_image()[None, None] / 255)


def relative_error(pixels, look=IMAGE_STATS):
    """Return the distance of an image from the hook, relative to the norm of the hook."""
    expected = hook_image() if look.has_dark_background else 255 - hook_image()
    return abs(pixels - expected).sum() / hook_image().sum()


@given(
    factor=st.integers(4, 12),
    margins=st.tuples(*[st.integers(10, 200)] * 4),
    paper=st.integers(140, 255),
    ink=st.integers(0, 80),
    negative=st.booleans(),
    noise=st.integers(0, 6),
    light=st.booleans(),
)
def test_preprocessing_is_invariant_to_size_position_contrast_and_noise(
    factor, margins, paper, ink, negative, noise, light
):
    above, below, left, right = margins
    foreground = np.kron(hook_image()[4:24, 9:18] / 255, np.ones((factor, factor)))
    foreground = np.pad(foreground, ((above, below), (left, right)))
    if negative:
        paper, ink = ink, paper
    rng = np.random.default_rng(0)
    picture = paper + (ink - paper) * foreground + rng.uniform(-noise, noise, foreground.shape)
    look = ImageStats.from_images(1 - hook_image()[None, None] / 255) if light else IMAGE_STATS
    pixels, steps = preprocess_image(picture.clip(0, 255), look, INPUT_SIZE, "auto")
    assert relative_error(pixels, look) < 0.2
    assert ("inverted" in steps) == (negative == light)
    assert steps[-1] == FRAMING_NOTE


def test_image_of_the_input_size_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, INPUT_SIZE).astype(float)
    image[[0, -1]] = image[:, [0, -1]] = 60
    pixels, steps = preprocess_image(image, IMAGE_STATS, INPUT_SIZE, "auto")
    np.testing.assert_array_equal(pixels, image)
    assert not steps


def test_specks_in_a_photograph_are_ignored():
    picture = np.full((1120, 1120), 200.0)
    picture[280:840, 280:840] -= np.kron(hook_image()[4:24, 4:24], np.ones((28, 28))) * 0.6
    picture[[5, 1000, 40], [9, 70, 1100]] = 0
    pixels, _ = preprocess_image(picture, IMAGE_STATS, INPUT_SIZE, "auto")
    assert relative_error(pixels) < 0.2


@pytest.mark.parametrize(("level", "done"), [(0, []), (90, []), (240, ["inverted"])])
def test_blank_image_stays_blank(level, done):
    sheet = level + np.random.default_rng(0).uniform(0, 9, (100, 50))
    pixels, steps = preprocess_image(sheet, IMAGE_STATS, INPUT_SIZE, "auto")
    assert steps == ["50 x 100 resized to 28 x 28", *done]
    assert pixels.max() < 100
    assert np.ptp(pixels) < 10


def test_whole_image_is_used_without_a_clear_background():
    picture = np.full((56, 112), 40.0)
    picture[:, 56:] = 220
    pixels, steps = preprocess_image(
        picture, ImageStats(0.5, 0.7, True, 0.5, 0.5), INPUT_SIZE, "auto"
    )
    assert steps == ["112 x 56 resized to 28 x 28"]
    assert pixels[14, 2] == 40
    assert pixels[14, 25] == 220
