"""A photograph is transformed to match a training image of the same object."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.data.input_spec import ImageStats
from nn.predict.preprocessing import preprocess_image

SIZE = (28, 28)
FRAMED = "framed like the training images"


def hook():
    """Draw a training image: a hook that fits into a square of 20 pixels."""
    image = np.zeros(SIZE)
    image[4:24, 15:18] = 255
    image[21:24, 9:18] = 255
    image[4:7, 12:18] = 255
    return image


LOOK = ImageStats.from_images(hook()[None, None] / 255)


def distance(pixels, look=LOOK):
    """Return the distance of an image from the hook, relative to the norm of the hook."""
    wanted = hook() if look.has_dark_background else 255 - hook()
    return abs(pixels - wanted).sum() / hook().sum()


@settings(deadline=None)
@given(
    factor=st.integers(4, 12),
    margins=st.tuples(*[st.integers(10, 200)] * 4),
    paper=st.integers(140, 255),
    ink=st.integers(0, 80),
    negative=st.booleans(),
    noise=st.integers(0, 6),
    light=st.booleans(),
)
def test_size_place_paper_ink_and_noise_make_no_difference(
    factor, margins, paper, ink, negative, noise, light
):
    above, below, left, right = margins
    drawn = np.kron(hook()[4:24, 9:18] / 255, np.ones((factor, factor)))
    drawn = np.pad(drawn, ((above, below), (left, right)))
    if negative:
        paper, ink = ink, paper
    chance = np.random.default_rng(0)
    picture = paper + (ink - paper) * drawn + chance.uniform(-noise, noise, drawn.shape)
    look = ImageStats.from_images(1 - hook()[None, None] / 255) if light else LOOK
    pixels, done = preprocess_image(picture.clip(0, 255), look, SIZE, "auto")
    assert distance(pixels, look) < 0.2
    assert ("inverted" in done) == (negative == light)
    assert done[-1] == FRAMED


def test_an_image_of_the_networks_own_size_is_taken_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, SIZE).astype(float)
    image[[0, -1]] = image[:, [0, -1]] = 60
    pixels, done = preprocess_image(image, LOOK, SIZE, "auto")
    np.testing.assert_array_equal(pixels, image)
    assert not done


def test_a_little_dust_on_a_photograph_does_not_matter():
    picture = np.full((1120, 1120), 200.0)
    picture[280:840, 280:840] -= np.kron(hook()[4:24, 4:24], np.ones((28, 28))) * 0.6
    picture[[5, 1000, 40], [9, 70, 1100]] = 0
    pixels, _ = preprocess_image(picture, LOOK, SIZE, "auto")
    assert distance(pixels) < 0.2


@pytest.mark.parametrize(("level", "done"), [(0, []), (90, []), (240, ["inverted"])])
def test_a_blank_sheet_stays_blank(level, done):
    sheet = level + np.random.default_rng(0).uniform(0, 9, (100, 50))
    pixels, told = preprocess_image(sheet, LOOK, SIZE, "auto")
    assert told == ["50 x 100 resized to 28 x 28", *done]
    assert pixels.max() < 100
    assert np.ptp(pixels) < 10


def test_where_training_images_have_no_clear_background_all_of_a_picture_is_used():
    picture = np.full((56, 112), 40.0)
    picture[:, 56:] = 220
    pixels, done = preprocess_image(picture, ImageStats(0.5, 0.7, True, 0.5, 0.5), SIZE, "auto")
    assert done == ["112 x 56 resized to 28 x 28"]
    assert pixels[14, 2] == 40
    assert pixels[14, 25] == 220
