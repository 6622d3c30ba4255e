"""Run the presets on the original data with three seeds each, and write a table to the README.

A finished run with the same configuration is reused, and an unfinished one is resumed. If presets
are named, their results are printed, and the README is not changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nn.cli.arguments import create_parser, run_command
from nn.cli.launch import launch
from nn.errors import UserError

if TYPE_CHECKING:
    from nn.runs.reader import SavedRun

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 0, 1, 2
TABLE_BEGIN, TABLE_END = "<!-- results -->", "<!-- end of results -->"
TABLE_HEADER = (
    "",
    "| `experiment=` | network | claimed | there, % | here, % | seconds there | seconds here |",
    "|---|---|---|---|---|---|---|",
)
DIGEST_IGNORED_KEYS = "tracking", "checkpoint_every", "choices"
"""Settings that do not affect the result of training."""
EMPTY_CELL = "—"


@dataclass(frozen=True)
class Preset:
    """A preset, with the accuracy that others claim for such a network.

    The reference figures are what they reach with it on the original data.
    """

    name: str
    description: str
    claimed_accuracy: str = ""
    reference_accuracy: str = ""
    reference_seconds: str = ""
    is_slow: bool = False  # takes minutes


def loss_preset(name: str, claimed_accuracy: str, reference_accuracy: str = "") -> Preset:
    """Describe a preset of the comparison of two losses by its name, LOSS_BATCH_LR_EPOCHS."""
    loss, batch_size, lr_decimals, epochs = name.split("_")
    loss_name = {"mse": "squared error", "entropy": "cross-entropy"}[loss]
    training = f"batch {batch_size}, lr=0.{lr_decimals}, {epochs} epochs"
    description = f"{PLAIN}, 42,000 images, {loss_name}, {training}"
    return Preset(name, description, claimed_accuracy, reference_accuracy, "60-130")


DRAWN = "784-196-49-10, 100 steps of 20,000 images drawn with replacement"
PLAIN = "784-128-64-10"
HE = f"{PLAIN}, He's initialization"
TRAIN_ACCURACY_CLAIM = "up to 99.99 % of training"
PRESETS = [
    Preset("mnist_drawn_055", f"{DRAWN}, lr=0.055 as the text says", "94 %", "87.67", "50-80"),
    Preset("mnist_drawn_55", f"{DRAWN}, lr=0.55 as the code has it", "94 %", "93.65", "50-80"),
    Preset("fashion_drawn_055", f"Fashion-MNIST: {DRAWN}, lr=0.055"),
    Preset("fashion_drawn_55", f"Fashion-MNIST: {DRAWN}, lr=0.55"),
    Preset("plain_full_batch", f"{PLAIN}, 100 steps of all images", "reasonable", "89.8", "44"),
    Preset("plain_mini_batch", f"{PLAIN}, 100 epochs of mini-batches", "reasonable"),
    Preset("mnist_two_epochs", "784-128-128-10, two epochs", "over 90 %", "94.55", "16"),
    Preset("fashion_two_epochs", "Fashion-MNIST: two epochs", "about 85 %", "85.59", "32"),
    Preset("descent_full_batch", f"{HE}, 120 steps of all images", "90-93 %"),
    Preset("descent_mini_batch", f"{HE}, 30 epochs of mini-batches", "", "97.5", "39"),
    loss_preset("mse_64_1_20", "95-97 %"),
    loss_preset("mse_64_15_30", "95-97 %"),
    loss_preset("mse_128_1_30", "95-97 %"),
    loss_preset("mse_128_15_40", "95-97 %"),
    loss_preset("entropy_64_01_40", TRAIN_ACCURACY_CLAIM),
    loss_preset("entropy_64_1_10", TRAIN_ACCURACY_CLAIM),
    loss_preset("entropy_64_15_40", TRAIN_ACCURACY_CLAIM, "97.4"),
    loss_preset("entropy_128_1_30", TRAIN_ACCURACY_CLAIM),
    loss_preset("entropy_128_15_20", TRAIN_ACCURACY_CLAIM),
    Preset("mnist_mlp_seconds", "784-256-128-10, batch normalization, one cycle"),
    Preset("fashion_mlp_seconds", "Fashion-MNIST: 784-256-128-10, the same"),
    Preset("mnist_mlp_quick", "784-512-256-10, augmentation"),
    Preset("mnist_mlp", "784-1024-512-10, augmentation", is_slow=True),
    Preset("fashion_mlp", "Fashion-MNIST: 784-1024-512-10, mirrored images", is_slow=True),
    Preset("mnist_cnn", "convolutions of 16, 48 and 96 channels, augmentation", is_slow=True),
    Preset("fashion_cnn", "Fashion-MNIST: the same, mirrored images", is_slow=True),
]


@dataclass(frozen=True)
class RunResult:
    """Results of a finished run, and the machine that they are from."""

    test_accuracy: float
    train_accuracy: float
    seconds: float
    cpu_model: str
    packages: Mapping[str, str | None]

    @classmethod
    def from_run(cls, run: SavedRun) -> RunResult:
        """Collect the results from the files of a run, which may be of any program."""
        from pydantic import TypeAdapter

        fields = {
            "test_accuracy": run.summary["test/accuracy"],
            "train_accuracy": run.history[-1]["train/accuracy"],
            "seconds": run.summary["seconds"],
            "cpu_model": run.environment["cpu_model"],
            "packages": run.environment["packages"],
        }
        return TypeAdapter(cls).validate_python(fields)


def main() -> int:
    """Run the presets of the command line, and return the exit status."""
    parser = create_parser("results", __doc__)
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="PRESET|SETTING",
        help="run and print these presets only; settings apply to all runs",
    )
    parser.add_argument(
        "--quick", action="store_true", help="run one seed, and no preset that takes minutes"
    )
    parser.add_argument(
        "--data-root", metavar="DIR", help="contains mnist/ and fashion_mnist/ (default: download)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/results"),
        metavar="DIR",
        help="directory of runs",
    )
    parser.add_argument(
        "--readme",
        type=Path,
        default=ROOT / "scripts/README.md",
        metavar="FILE",
        help="file with the table",
    )
    args = parser.parse_intermixed_args()
    return run_command(lambda: update_results(args))


def update_results(args: argparse.Namespace) -> int:
    """Run what is missing, then write the table, or print the rows that were asked for."""
    names, settings = split_arguments(args.arguments)
    text_before, text_after = split_readme(args.readme)
    planned_runs = {
        preset: [PlannedRun.compose(preset, seed, args.data_root, settings) for seed in SEEDS]
        for preset in PRESETS
    }
    finished_runs = dict(find_finished_runs(args.output))
    for preset, runs in planned_runs.items():
        is_selected = preset.name in names if names else not (args.quick and preset.is_slow)
        for run in runs[:1] if args.quick else runs:
            if is_selected and run.digest not in finished_runs:
                run_dir = args.output / preset.name / f"{run.seed}-{run.digest[:8]}"
                if status := run_training(run.overrides, run_dir):
                    return status
                finished_runs |= find_finished_runs(run_dir)
    results = {
        preset: [finished_runs[run.digest] for run in runs if run.digest in finished_runs]
        for preset, runs in planned_runs.items()
        if not names or preset.name in names
    }
    table = "\n".join(format_table(results))
    if names:
        print(table)
    else:
        write_readme(args.readme, f"{text_before}\n{table}\n{text_after}")
        print(f"The table is in {args.readme}.")
    return 0


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the names of presets from settings."""
    names = [argument for argument in arguments if "=" not in argument]
    known_names = [preset.name for preset in PRESETS]
    for name in names:
        if name not in known_names:
            raise UserError(f"{name}: there is no such preset; there is {', '.join(known_names)}.")
    return names, [argument for argument in arguments if "=" in argument]


def split_readme(readme: Path) -> tuple[str, str]:
    """Return the text up to the begin of the table, and that from its end."""
    try:
        text = readme.read_text()
    except OSError as error:
        raise UserError(f"{readme} cannot be read: {error.strerror}.") from None
    match = re.fullmatch(f"(.*?{TABLE_BEGIN}).*?({TABLE_END}.*)", text, re.DOTALL)
    if match is None:
        raise UserError(
            f"{readme}: {TABLE_BEGIN} and {TABLE_END}, which enclose the table, are missing."
        )
    return match[1], match[2]


def write_readme(readme: Path, text: str) -> None:
    """Replace the file with the table."""
    from nn.io.files import atomic_write

    try:
        atomic_write(readme, text.encode())
    except OSError as error:
        raise UserError(f"{readme} cannot be written: {error.strerror}.") from None


@dataclass(frozen=True)
class PlannedRun:
    """A seed of a preset, with its overrides for train.py and the digest of its configuration."""

    seed: int
    overrides: list[str]
    digest: str

    @classmethod
    def compose(
        cls, preset: Preset, seed: int, data_root: str | None, settings: Sequence[str]
    ) -> PlannedRun:
        """Compose the configuration of a run, in which settings override the preset."""
        from nn.config.compose import compose_config

        dataset = "fashion_mnist" if preset.name.startswith("fashion") else "mnist"
        root_override = [f"dataset.root={data_root}/{dataset}"] if data_root else []
        overrides = [f"experiment={preset.name}", f"seed={seed}", *root_override, *settings]
        return cls(seed, overrides, config_digest(compose_config(overrides).model_dump()))


def config_digest(config: Mapping[str, Any]) -> str:
    """Return a SHA-256 of the settings on which a result depends, without the data's location.

    A setting that changes nothing is left out if runs of earlier versions lack it.
    """
    from nn.config.schema import ADDED_SETTINGS

    settings = {
        key: value
        for key, value in config.items()
        if key not in DIGEST_IGNORED_KEYS and (key, value) not in ADDED_SETTINGS.items()
    }
    dataset = {k: v for k, v in config["dataset"].items() if k not in ("root", "mirrors")}
    text = json.dumps({**settings, "dataset": dataset}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def run_training(overrides: Sequence[str], run_dir: Path) -> int:
    """Start or resume a run with train.py, and return its exit status."""
    is_resumed = (run_dir / "config.yaml").exists()
    arguments = [f"resume={run_dir}"] if is_resumed else [*overrides, f"hydra.run.dir={run_dir}"]
    print(f"$ python scripts/train.py {' '.join(arguments)}", flush=True)
    process = subprocess.Popen([sys.executable, ROOT / "scripts/train.py", *arguments])
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()  # it saves its state
        raise


def find_finished_runs(directory: Path) -> Iterator[tuple[str, RunResult]]:
    """Yield the finished runs below a directory, with the digests of their configurations."""
    from nn.runs.reader import SavedRun, find_runs

    for run_dir in find_runs(directory):
        try:
            run = SavedRun(run_dir)
            if run.summary.get("status") == "finished" and run.history:
                yield config_digest(run.config), RunResult.from_run(run)
        except UserError as error:
            print(error, file=sys.stderr)
        except (AttributeError, KeyError, TypeError, ValueError):
            reason = "its settings or results are not as train.py writes them"
            print(f"{run_dir} is skipped: {reason}.", file=sys.stderr)


def format_table(results: Mapping[Preset, Sequence[RunResult]]) -> Iterator[str]:
    """Yield the lines of the table, and a caption that names processor and NumPy version."""
    yield from TABLE_HEADER
    for preset, runs in results.items():
        accuracy = format_mean_std([run.test_accuracy for run in runs])
        if preset.claimed_accuracy == TRAIN_ACCURACY_CLAIM:
            accuracy += f"; of training {format_mean_std([run.train_accuracy for run in runs])}"
        seconds = f"{statistics.median(run.seconds for run in runs):.3g}" if runs else EMPTY_CELL
        reference = f"{preset.claimed_accuracy} | {preset.reference_accuracy}"
        times = f"{preset.reference_seconds} | {seconds}"
        yield f"| `{preset.name}` | {preset.description} | {reference} | {accuracy} | {times} |"
    yield ""
    all_runs = [run for runs in results.values() for run in runs]
    if all_runs:
        cpu_models = ", ".join(sorted({run.cpu_model for run in all_runs}))
        numpy_versions = ", ".join(sorted({str(run.packages.get("numpy")) for run in all_runs}))
        caption = format_caption({len(runs) for runs in results.values() if runs})
        yield f"{caption}, one core of {cpu_models} with NumPy {numpy_versions}."
        yield ""


def format_caption(seed_counts: Collection[int]) -> str:
    """Describe the figures, by the numbers of seeds in the rows."""
    if max(seed_counts) == 1:
        return "Test accuracy of one seed, and the seconds of its training"
    numbers = " to ".join(map(str, sorted({min(seed_counts), max(seed_counts)})))
    return (
        f"Test accuracy, mean and standard deviation of {numbers} seeds, "
        "and the median of the seconds of training"
    )


def format_mean_std(accuracies: Sequence[float]) -> str:
    """Format mean and standard deviation in percent."""
    from nn.report.formatting import mean_and_std

    return mean_and_std(accuracies, True) + " (one seed)" * (len(accuracies) == 1)


if __name__ == "__main__":
    launch(main, prints_result=True, exits_at_once=False)
