"""A picture of any size, made to look like the images that a network was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nn.data.image_stats import Look, middles, shown

Pixels = NDArray[np.float64]  # height x width, from 0 to 255, with a last axis of 3 for colours
Size = tuple[int, int]
FAINT = 16
"""Levels below which a difference may be nothing but noise."""
FINE = 4
"""How many times as fine as the result a picture is looked at; dust is finer."""


def adapted(pixels: Pixels, look: Look, size: Size, invert: str) -> tuple[Pixels, list[str]]:
    """Give a picture the size and the look of training images, and say what was done.

    One that has their size already is taken for one of them, and at most inverted.
    """
    foreign = pixels.shape[:2] != size
    paper = _paper(pixels)
    blank = np.ptp(pixels) < 2 * FAINT
    middle = (pixels.min() + pixels.max()) / 2 if foreign and not blank else 127.5
    light = bool(paper.mean() > middle)
    done = []
    if invert == "yes" or (invert == "auto" and (look.dark if light else look.light)):
        pixels, paper, light = 255 - pixels, 255 - paper, not light
        done.append("inverted")
    if not foreign:
        return pixels, done
    tall, wide = pixels.shape[:2]
    done.insert(0, f"{wide} x {tall} resized to {size[1]} x {size[0]}")
    ink = (paper - pixels if light else pixels - paper).clip(0)
    if pixels.ndim == 3 or not (look.dark or look.light) or ink.max() < 2 * FAINT:
        return _whole(pixels, paper, size), done
    if ink.max() < 255 - FAINT:
        done.append("contrast stretched")
    done.append("framed like the training images")
    framed = 255 * _framed(ink, look, size)
    return 255 - framed if light else framed, done


def _paper(pixels: Pixels) -> Any:
    """Tell a picture's background from its edges."""
    edges = pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]
    return np.median(np.concatenate(edges), axis=0)


def _whole(pixels: Pixels, paper: Any, size: Size) -> Pixels:
    """Fit all of a picture into a size, with its background around it."""
    height, width = size
    channels = np.moveaxis(np.atleast_3d(pixels), -1, 0)
    scale = min(height / pixels.shape[0], width / pixels.shape[1])
    small = np.stack([_scaled(channel, scale) for channel in channels], axis=-1)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    whole = np.empty((height, width, len(channels)))
    whole[:] = paper
    whole[top : top + small.shape[0], left : left + small.shape[1]] = small
    return whole


def _framed(ink: Pixels, look: Look, size: Size) -> Pixels:
    """Make what a picture shows as large as it is in training images, and put it where it is."""
    height, width = size
    ink = _cut(_cut(ink, size, around=1), size, around=0)
    ink = _scaled(ink, look.extent * min(height / ink.shape[0], width / ink.shape[1]))
    down, across = middles(ink[None], look.weighed)
    top = np.clip(round(look.down * height - down[0]), 0, height - ink.shape[0])
    left = np.clip(round(look.across * width - across[0]), 0, width - ink.shape[1])
    framed = np.zeros(size)
    framed[top : top + ink.shape[0], left : left + ink.shape[1]] = ink / ink.max()
    return framed


def _cut(ink: Pixels, size: Size, around: int) -> Pixels:
    """Cut out what a coarser picture shows, with some of its pixels around it."""
    scale = min(1, FINE * max(size) / max(ink.shape))
    spans = []
    for (begin, end), side in zip(shown(_scaled(ink, scale)[None]), ink.shape, strict=True):
        step = side / max(1, round(side * scale))
        begin, end = round((begin[0] - around) * step), round((end[0] + around) * step)
        spans.append(slice(max(0, begin), end))
    return ink[tuple(spans)]


def _scaled(pixels: Pixels, scale: float) -> Pixels:
    """Make one channel smaller or larger, with its proportions kept."""
    from PIL import Image

    height, width = (max(1, round(side * scale)) for side in pixels.shape)
    image = Image.fromarray(pixels.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float64)
