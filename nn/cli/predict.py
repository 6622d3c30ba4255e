"""Let a trained network say what it sees in a file of samples, or in images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nn.cli.arguments import int_at_least


def main() -> int:
    """Do what the command line asks for, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="a CSV, IDX, .npy or .npz file of samples; or images (PNG, JPEG, GIF, TIFF, WebP or "
        "BMP), or a folder of them",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the labels, as Kaggle's Digit Recognizer takes them; of images, by file name",
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="in that file, a column for each class"
    )
    parser.add_argument(
        "--images", type=Path, metavar="FILE", help="a picture of images with their predictions"
    )
    parser.add_argument(
        "--start",
        type=int_at_least(1),
        default=1,
        metavar="N",
        help="the picture's first image (1)",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="the true classes: CSV, IDX, .npy or .npz"
    )
    parser.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="dark for light in images (auto: where the training images have the other background)",
    )
    parser.add_argument("--force", action="store_true", help="write over files that exist")
    parser.add_argument(
        "--trust", default="", metavar="PACKAGE", help="run the model of a package of your own"
    )
    args = parser.parse_intermixed_args()

    from nn.errors import UserError
    from nn.predict.run import PredictOptions, run_prediction

    try:
        run_prediction(PredictOptions(**vars(args)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
