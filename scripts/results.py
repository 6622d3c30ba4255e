"""Run the presets on the original data with three seeds each, and write a table to the README.

A finished run with the same configuration is reused, and an unfinished one is resumed. If presets
are named, their results are printed, and the README is not changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nn.cli.arguments import run_command
from nn.cli.launch import launch

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 0, 1, 2
TABLE_BEGIN, TABLE_END = "<!-- results -->", "<!-- end of results -->"
DIGEST_IGNORED_KEYS = "tracking", "checkpoint_every", "choices"
"""Settings that do not affect the result of training."""
EMPTY_CELL = "—"


@dataclass(frozen=True)
class PresetRow:
    """A preset, with the accuracy that others claim for such a network.

    The reference figures are what they reach with it on the original data.
    """

    preset: str
    description: str
    claimed_accuracy: str = ""
    reference_accuracy: str = ""
    reference_seconds: str = ""
    is_slow: bool = False  # takes minutes


def make_loss_row(
    loss: str,
    batch_size: int,
    lr: str,
    epochs: int,
    claimed_accuracy: str,
    reference_accuracy: str = "",
) -> PresetRow:
    """Return a row of the comparison of two losses."""
    loss_name = {"mse": "squared error", "entropy": "cross-entropy"}[loss]
    return PresetRow(
        f"{loss}_{batch_size}_{lr.removeprefix('0.')}_{epochs}",
        f"784-128-64-10, 42,000 images, {loss_name}, batch {batch_size}, lr={lr}, {epochs} epochs",
        claimed_accuracy,
        reference_accuracy,
        "60-130",
    )


DRAWN_SETUP = "784-196-49-10, 100 steps of 20,000 images drawn with replacement"
TRAIN_ACCURACY_CLAIM = "up to 99.99 % of training"
HE_SETUP = "784-128-64-10, He's initialization"
ROWS = [
    PresetRow(
        "mnist_drawn_055", f"{DRAWN_SETUP}, lr=0.055 as the text says", "94 %", "87.67", "50-80"
    ),
    PresetRow(
        "mnist_drawn_55", f"{DRAWN_SETUP}, lr=0.55 as the code has it", "94 %", "93.65", "50-80"
    ),
    PresetRow("fashion_drawn_055", f"Fashion-MNIST: {DRAWN_SETUP}, lr=0.055"),
    PresetRow("fashion_drawn_55", f"Fashion-MNIST: {DRAWN_SETUP}, lr=0.55"),
    PresetRow(
        "plain_full_batch", "784-128-64-10, 100 steps of all images", "reasonable", "89.8", "44"
    ),
    PresetRow("plain_mini_batch", "784-128-64-10, 100 epochs of mini-batches", "reasonable"),
    PresetRow("mnist_two_epochs", "784-128-128-10, two epochs", "over 90 %", "94.55", "16"),
    PresetRow("fashion_two_epochs", "Fashion-MNIST: two epochs", "about 85 %", "85.59", "32"),
    PresetRow("descent_full_batch", f"{HE_SETUP}, 120 steps of all images", "90-93 %"),
    PresetRow("descent_mini_batch", f"{HE_SETUP}, 30 epochs of mini-batches", "", "97.5", "39"),
    make_loss_row("mse", 64, "0.1", 20, "95-97 %"),
    make_loss_row("mse", 64, "0.15", 30, "95-97 %"),
    make_loss_row("mse", 128, "0.1", 30, "95-97 %"),
    make_loss_row("mse", 128, "0.15", 40, "95-97 %"),
    make_loss_row("entropy", 64, "0.01", 40, TRAIN_ACCURACY_CLAIM),
    make_loss_row("entropy", 64, "0.1", 10, TRAIN_ACCURACY_CLAIM),
    make_loss_row("entropy", 64, "0.15", 40, TRAIN_ACCURACY_CLAIM, "97.4"),
    make_loss_row("entropy", 128, "0.1", 30, TRAIN_ACCURACY_CLAIM),
    make_loss_row("entropy", 128, "0.15", 20, TRAIN_ACCURACY_CLAIM),
    PresetRow("mnist_mlp_seconds", "784-256-128-10, batch normalization, one cycle"),
    PresetRow("fashion_mlp_seconds", "Fashion-MNIST: 784-256-128-10, the same"),
    PresetRow("mnist_mlp_quick", "784-512-256-10, augmentation"),
    PresetRow("mnist_mlp", "784-1024-512-10, augmentation", is_slow=True),
    PresetRow("fashion_mlp", "Fashion-MNIST: 784-1024-512-10, mirrored images", is_slow=True),
    PresetRow("mnist_cnn", "convolutions of 16, 48 and 96 channels, augmentation", is_slow=True),
    PresetRow("fashion_cnn", "Fashion-MNIST: the same, mirrored images", is_slow=True),
]


@dataclass(frozen=True)
class RunResult:
    """The result of a finished run."""

    test_accuracy: float
    train_accuracy: float
    seconds: float
    environment: Mapping[str, Any]


def main() -> int:
    """Run the presets of the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
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
        "--root", metavar="DIR", help="directory with mnist/ and fashion_mnist/ (default: download)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/results"),
        metavar="DIR",
        help="directory of the runs",
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
    """Run what is missing, then write the table, or print the part of it that was asked for."""
    from nn.config.compose import compose_config
    from nn.errors import UserError
    from nn.io.files import atomic_write

    presets, settings = split_arguments(args.arguments)
    text_before, text_after = split_readme(args.readme)
    digests = {
        (row, seed): config_digest(compose_config(build_overrides(row, seed, args.root, settings)))
        for row in ROWS
        for seed in SEEDS
    }
    finished_runs = dict(find_finished_runs(args.output))
    for (row, seed), digest in digests.items():
        is_selected = row.preset in presets if presets else not (args.quick and row.is_slow)
        if digest in finished_runs or not is_selected or (args.quick and seed):
            continue
        run_dir = args.output / row.preset / f"{seed}-{digest[:8]}"
        status = run_training(build_overrides(row, seed, args.root, settings), run_dir)
        if status:
            return status
        finished_runs |= find_finished_runs(run_dir)
    results_by_row = {
        row: [
            finished_runs[digests[row, seed]]
            for seed in SEEDS
            if digests[row, seed] in finished_runs
        ]
        for row in ROWS
    }
    if presets:
        print(
            "\n".join(
                format_table({row: results_by_row[row] for row in ROWS if row.preset in presets})
            )
        )
        return 0
    text = "\n".join(
        [f"{text_before}{TABLE_BEGIN}", *format_table(results_by_row), f"{TABLE_END}{text_after}"]
    )
    try:
        atomic_write(args.readme, text.encode())
    except OSError as error:
        raise UserError(f"{args.readme} cannot be written: {error.strerror}.") from None
    print(f"The table is in {args.readme}.")
    return 0


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the names of presets from settings."""
    from nn.errors import UserError

    presets = [argument for argument in arguments if "=" not in argument]
    preset_names = [row.preset for row in ROWS]
    for preset in presets:
        if preset not in preset_names:
            raise UserError(
                f"{preset}: there is no such preset; there is {', '.join(preset_names)}."
            )
    return presets, [argument for argument in arguments if "=" in argument]


def split_readme(readme: Path) -> tuple[str, str]:
    """Return the text before and after the table."""
    from nn.errors import UserError

    try:
        text = readme.read_text()
    except OSError as error:
        raise UserError(f"{readme} cannot be read: {error.strerror}.") from None
    text_before, begin, rest = text.partition(TABLE_BEGIN)
    _, end, text_after = rest.partition(TABLE_END)
    if not begin or not end:
        raise UserError(
            f"{readme}: {TABLE_BEGIN} and {TABLE_END}, which enclose the table, are missing."
        )
    return text_before, text_after


def build_overrides(
    row: PresetRow, seed: int, data_root: str | None, settings: Sequence[str]
) -> list[str]:
    """Return the overrides for train.py."""
    dataset = "fashion_mnist" if row.preset.startswith("fashion") else "mnist"
    root_override = [f"dataset.root={data_root}/{dataset}"] if data_root else []
    return [f"experiment={row.preset}", f"seed={seed}", *root_override, *settings]


def config_digest(config: Mapping[str, Any]) -> str:
    """Return a SHA-256 of the settings on which a result depends, without the data's location."""
    settings = {key: value for key, value in config.items() if key not in DIGEST_IGNORED_KEYS}
    dataset = {k: v for k, v in config["dataset"].items() if k not in ("root", "mirrors")}
    text = json.dumps({**settings, "dataset": dataset}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find_finished_runs(directory: Path) -> Iterator[tuple[str, RunResult]]:
    """Yield the finished runs below a directory, with the digests of their configurations."""
    from nn.errors import UserError
    from nn.runs.reader import SavedRun, find_runs

    for run_dir in find_runs(directory):
        try:
            saved_run = SavedRun.read(run_dir)
        except UserError as error:
            print(error, file=sys.stderr)
            continue
        if saved_run.summary.get("status") == "finished" and saved_run.history:
            yield (
                config_digest(saved_run.config),
                RunResult(
                    saved_run.summary["test/accuracy"],
                    saved_run.history[-1]["train/accuracy"],
                    saved_run.summary["seconds"],
                    saved_run.environment,
                ),
            )


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


def format_table(results_by_row: Mapping[PresetRow, Sequence[RunResult]]) -> Iterator[str]:
    """Yield the lines of the table, and a caption that names processor and NumPy version."""
    yield ""
    yield (
        "| `experiment=` | network | claimed | there, % | here, % | seconds there | seconds here |"
    )
    yield "|---|---|---|---|---|---|---|"
    for row, results in results_by_row.items():
        accuracy = format_mean_std([result.test_accuracy for result in results])
        if row.claimed_accuracy == TRAIN_ACCURACY_CLAIM:
            accuracy += (
                f"; of training {format_mean_std([result.train_accuracy for result in results])}"
            )
        times = [result.seconds for result in results]
        seconds = f"{statistics.median(times):.3g}" if times else EMPTY_CELL
        cells = (
            f"`{row.preset}`",
            row.description,
            row.claimed_accuracy,
            row.reference_accuracy,
            accuracy,
            row.reference_seconds,
            seconds,
        )
        yield f"| {' | '.join(cells)} |"
    yield ""
    environments = [result.environment for results in results_by_row.values() for result in results]
    if environments:
        processor, numpy = (
            format_recorded_values(environments, "cpu_model"),
            format_recorded_values(environments, "packages", "numpy"),
        )
        yield (
            f"{format_caption({len(results) for results in results_by_row.values() if results})}, "
            f"one core of {processor} with NumPy {numpy}."
        )
        yield ""


def format_caption(seed_counts: set[int]) -> str:
    """Describe the figures, by the numbers of seeds in the rows."""
    if seed_counts == {1}:
        return "Test accuracy of one seed, and the seconds of its training"
    numbers = " to ".join(map(str, sorted({min(seed_counts), max(seed_counts)})))
    return (
        f"Test accuracy, mean and standard deviation of {numbers} seeds, "
        "and the median of the seconds of training"
    )


def format_mean_std(accuracies: Sequence[float]) -> str:
    """Format mean and standard deviation in percent."""
    if not accuracies:
        return EMPTY_CELL
    mean = f"{100 * statistics.mean(accuracies):.2f}"
    if len(accuracies) == 1:
        return f"{mean} (one seed)"
    return f"{mean} ± {100 * statistics.stdev(accuracies):.2f}"


def format_recorded_values(environments: Sequence[Mapping[str, Any]], *keys: str) -> str:
    """List the distinct values that runs have recorded under nested keys."""
    values = set()
    for environment in environments:
        value: Any = environment
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        values.add(str(value))
    return ", ".join(sorted(values))


if __name__ == "__main__":
    launch(main, prints_result=True, exits_at_once=False)
