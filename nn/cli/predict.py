"""Predict the classes of images or of a file of samples with the network of a run."""

from __future__ import annotations

from pathlib import Path

from nn.cli.arguments import create_parser, int_at_least, run_command


def main() -> int:
    """Print or write predictions, and return the exit status."""
    parser = create_parser("predict", __doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help="a CSV, IDX, .npy or .npz file of samples; or images (PNG, JPEG, GIF, TIFF, WebP or "
        "BMP), or a directory of images",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the labels as Kaggle's Digit Recognizer takes them, or by image file name",
    )
    parser.add_argument(
        "--probabilities", action="store_true", help="write a column per class to that file"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="write a PNG of images with their predictions"
    )
    parser.add_argument(
        "--first",
        type=int_at_least(1),
        default=1,
        metavar="N",
        help="number of the first image in that PNG (default: 1)",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="true classes: a CSV, IDX, .npy or .npz file"
    )
    parser.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="invert the brightness of images (default auto: if the training images have the "
        "opposite background)",
    )
    parser.add_argument("--overwrite", action="store_true", help="overwrite existing files")
    parser.add_argument(
        "--trust",
        default="",
        metavar="PACKAGE",
        help="allow the run to use classes of this package",
    )
    args = parser.parse_intermixed_args()

    from nn.predict.run import PredictOptions, run_prediction

    return run_command(lambda: run_prediction(PredictOptions(**vars(args))))
