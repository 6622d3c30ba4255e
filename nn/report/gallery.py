"""Galleries of images: classified samples and first-layer filters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn.predictions import Predictions
from nn.report import formatting as fmt
from nn.report import images
from nn.report.markup import Markup, element


def prediction_gallery(
    predictions: Predictions, names: Sequence[str], correct: bool, max_images: int
) -> tuple[str, Markup] | None:
    """Render correct or misclassified samples with predicted class and confidence.

    Returns:
        The gallery's title and its HTML; None if there are no such samples with images.
    """
    examples = predictions.examples(correct, max_images)
    if not examples:
        return None
    cards = [
        _prediction_card(predictions, names, images.to_thumbnail(image), sample)
        for image, sample in examples
    ]
    title = "Correct" if correct else "Most confident errors"
    return title, element("ul", cards, class_="gallery")


def _prediction_card(
    predictions: Predictions, names: Sequence[str], pixels: images.Pixels, sample: int
) -> Markup:
    probabilities, truth = predictions.probabilities[sample], int(predictions.labels[sample])
    predicted = int(probabilities.argmax())
    confidence = float(probabilities[predicted])
    top3 = np.argsort(-probabilities, kind="stable")[:3].tolist()
    top3_text = ", ".join(
        f"{names[index]} {fmt.confidence(float(probabilities[index]))}" for index in top3
    )
    is_wrong = predicted != truth
    caption = names[truth] + (f", predicted as {names[predicted]}" if is_wrong else "")
    percentage = fmt.confidence(confidence)
    return element(
        "li",
        element(
            "img",
            src=images.to_data_uri(pixels),
            alt=f"sample {sample}: {caption}",
            loading="eager",
        ),
        element("b", names[predicted]),
        element("span", f"true: {names[truth]}" if is_wrong else None, class_="truth"),
        element("meter", value=f"{confidence:.4f}", aria_label=f"confidence {percentage}"),
        element("small", percentage),
        class_="wrong" if is_wrong else "right",
        data_tip=f"Sample {sample:,}: {top3_text}",
        tabindex="0",
    )


def filter_gallery(filter_images: Sequence[images.Pixels]) -> Markup:
    """Render the filters of the first layer as a grid of images."""
    tiles = [
        element("img", src=images.to_data_uri(pixels), alt=f"weights of unit {number}")
        for number, pixels in enumerate(filter_images, 1)
    ]
    return element("div", tiles, class_="filters")
