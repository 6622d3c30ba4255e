"""Preprocessing of images of any size to resemble the training images of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nn.data.input_spec import ImageStats, bounding_boxes, centers

# height x width, from 0 to 255, with a last axis of 3 for RGB
FloatPixels = NDArray[np.float64]
Size = tuple[int, int]
NOISE_LEVELS = 16
"""Differences below this number of gray levels may be noise."""
CROP_OVERSAMPLING = 4
"""Resolution for finding the foreground, relative to the result; finer detail is dust."""


def preprocess_image(
    pixels: FloatPixels, stats: ImageStats, size: Size, invert: str
) -> tuple[FloatPixels, list[str]]:
    """Convert an image to the size and appearance of the training images.

    Polarity, size, contrast, object extent and position are matched. An image that already has the
    right size is taken for one of the same kind, and at most inverted.

    Returns:
        The pixels, and notes on what was changed.
    """
    needs_resize = pixels.shape[:2] != size
    background = _estimate_background(pixels)
    is_blank = np.ptp(pixels) < 2 * NOISE_LEVELS
    threshold = (pixels.min() + pixels.max()) / 2 if needs_resize and not is_blank else 127.5
    is_light = bool(background.mean() > threshold)
    changes = []
    if invert == "yes" or (
        invert == "auto" and (stats.has_dark_background if is_light else stats.has_light_background)
    ):
        pixels, background, is_light = 255 - pixels, 255 - background, not is_light
        changes.append("inverted")
    if not needs_resize:
        return pixels, changes
    height, width = pixels.shape[:2]
    changes.insert(0, f"{width} x {height} resized to {size[1]} x {size[0]}")
    foreground = (background - pixels if is_light else pixels - background).clip(0)
    if (
        pixels.ndim == 3
        or not (stats.has_dark_background or stats.has_light_background)
        or foreground.max() < 2 * NOISE_LEVELS
    ):
        return _letterbox(pixels, background, size), changes
    if foreground.max() < 255 - NOISE_LEVELS:
        changes.append("contrast stretched")
    changes.append("framed like the training images")
    aligned = 255 * _align_foreground(foreground, stats, size)
    return 255 - aligned if is_light else aligned, changes


def _estimate_background(pixels: FloatPixels) -> FloatPixels:
    """Return the median of the edge pixels, per channel."""
    edges = pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]
    return np.asarray(np.median(np.concatenate(edges), axis=0))


def _letterbox(pixels: FloatPixels, background: FloatPixels, size: Size) -> FloatPixels:
    """Fit the whole image into a size, and pad it with its background."""
    height, width = size
    channels = np.moveaxis(np.atleast_3d(pixels), -1, 0)
    scale = min(height / pixels.shape[0], width / pixels.shape[1])
    resized = np.stack([_resize_channel(channel, scale) for channel in channels], axis=-1)
    top, left = (height - resized.shape[0]) // 2, (width - resized.shape[1]) // 2
    canvas = np.empty((height, width, len(channels)))
    canvas[:] = background
    canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    return canvas


def _align_foreground(foreground: FloatPixels, stats: ImageStats, size: Size) -> FloatPixels:
    """Scale and place the foreground as in the training images; normalize its maximum to 1."""
    height, width = size
    foreground = _crop_foreground(_crop_foreground(foreground, size, margin=1), size, margin=0)
    foreground = _resize_channel(
        foreground, stats.extent * min(height / foreground.shape[0], width / foreground.shape[1])
    )
    center_rows, center_columns = centers(foreground[None], stats.centered_by_mass)
    top = np.clip(round(stats.center_y * height - center_rows[0]), 0, height - foreground.shape[0])
    left = np.clip(
        round(stats.center_x * width - center_columns[0]), 0, width - foreground.shape[1]
    )
    canvas = np.zeros(size)
    canvas[top : top + foreground.shape[0], left : left + foreground.shape[1]] = (
        foreground / foreground.max()
    )
    return canvas


def _crop_foreground(foreground: FloatPixels, size: Size, margin: int) -> FloatPixels:
    """Crop to the bounding box found at a coarser resolution, plus a margin in its pixels."""
    scale = min(1, CROP_OVERSAMPLING * max(size) / max(foreground.shape))
    slices = []
    for (begin, end), side in zip(
        bounding_boxes(_resize_channel(foreground, scale)[None]), foreground.shape, strict=True
    ):
        step = side / max(1, round(side * scale))
        begin, end = round((begin[0] - margin) * step), round((end[0] + margin) * step)
        slices.append(slice(max(0, begin), end))
    return foreground[tuple(slices)]


def _resize_channel(pixels: FloatPixels, scale: float) -> FloatPixels:
    """Resize one channel, preserving its aspect ratio."""
    from PIL import Image

    height, width = (max(1, round(side * scale)) for side in pixels.shape)
    image = Image.fromarray(pixels.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float64)
