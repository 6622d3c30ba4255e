"""Images with what is said of them: predictions, and what the first layer looks for."""

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
    """Show samples with the class that is predicted, how surely, and what else it might be."""
    found = predictions.examples(correct, max_images)
    if not found:
        return None
    cards = [
        _prediction_card(predictions, names, images.to_thumbnail(image), sample)
        for image, sample in found
    ]
    title = "Right" if correct else "Most confidently wrong"
    return title, element("ul", cards, class_="gallery")


def _prediction_card(
    predictions: Predictions, names: Sequence[str], pixels: images.Pixels, sample: int
) -> Markup:
    probabilities, truth = predictions.probabilities[sample], int(predictions.labels[sample])
    guess = int(probabilities.argmax())
    sure = float(probabilities[guess])
    likely = np.argsort(-probabilities, kind="stable")[:3].tolist()
    others = ", ".join(
        f"{names[each]} {fmt.confidence(float(probabilities[each]))}" for each in likely
    )
    wrong = guess != truth
    told = f"{names[truth]}, taken for {names[guess]}" if wrong else f"{names[truth]}"
    return element(
        "li",
        element(
            "img", src=images.to_data_uri(pixels), alt=f"sample {sample}: {told}", loading="eager"
        ),
        element("b", names[guess]),
        element("span", f"is {names[truth]}" if wrong else None, class_="truth"),
        element("meter", value=f"{sure:.4f}", aria_label=f"confidence {fmt.confidence(sure)}"),
        element("small", fmt.confidence(sure)),
        class_="wrong" if wrong else "right",
        data_tip=f"Sample {sample:,}: {others}",
        tabindex="0",
    )  # fmt: skip


def filter_gallery(filter_images: Sequence[images.Pixels]) -> Markup:
    """Show the weights of units as images."""
    tiles = [
        element("img", src=images.to_data_uri(pixels), alt=f"weights of unit {number}")
        for number, pixels in enumerate(filter_images, 1)
    ]
    return element("div", tiles, class_="filters")
