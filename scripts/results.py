"""Run the presets on the genuine data, three seeds each, and write what they reach into the README.

A finished run with the same configuration is used again, and one that was cut off goes on. Of
presets that are named the result is shown, and the README stays as it is.
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

from nn.cli.launch import launch

ROOT = Path(__file__).resolve().parents[1]
SEEDS = 0, 1, 2
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
WITHOUT_EFFECT = "tracking", "checkpoint", "choices"
"""Settings that change nothing about what a training reaches."""
MISSING = "—"


@dataclass(frozen=True)
class Row:
    """A preset, and what others claim of such a network and reach with it on the genuine data."""

    preset: str
    network: str
    claim: str = ""
    there: str = ""
    seconds: str = ""
    minutes: bool = False  # that it takes here


def compared(loss: str, batch: int, lr: str, epochs: int, claim: str, there: str = "") -> Row:
    """Make a row of the comparison of two losses."""
    name = {"mse": "squared error", "entropy": "cross-entropy"}[loss]
    return Row(
        f"{loss}_{batch}_{lr.removeprefix('0.')}_{epochs}",
        f"784-128-64-10, 42,000 images, {name}, batch {batch}, lr={lr}, {epochs} epochs",
        claim,
        there,
        "60-130",
    )


DRAWN = "784-196-49-10, 100 steps of 20,000 images drawn with replacement"
TRAINED = "up to 99.99 % of training"
DESCENT = "784-128-64-10, He's initialization"
ROWS = [
    Row("mnist_drawn_055", f"{DRAWN}, lr=0.055 as the text says", "94 %", "87.67", "50-80"),
    Row("mnist_drawn_55", f"{DRAWN}, lr=0.55 as the code has it", "94 %", "93.65", "50-80"),
    Row("fashion_drawn_055", f"Fashion-MNIST: {DRAWN}, lr=0.055"),
    Row("fashion_drawn_55", f"Fashion-MNIST: {DRAWN}, lr=0.55"),
    Row("plain_full_batch", "784-128-64-10, 100 steps of all images", "reasonable", "89.8", "44"),
    Row("plain_mini_batch", "784-128-64-10, 100 epochs of mini-batches", "reasonable"),
    Row("mnist_two_epochs", "784-128-128-10, two epochs", "over 90 %", "94.55", "16"),
    Row("fashion_two_epochs", "Fashion-MNIST: two epochs", "about 85 %", "85.59", "32"),
    Row("descent_full_batch", f"{DESCENT}, 120 steps of all images", "90-93 %"),
    Row("descent_mini_batch", f"{DESCENT}, 30 epochs of mini-batches", "", "97.5", "39"),
    compared("mse", 64, "0.1", 20, "95-97 %"),
    compared("mse", 64, "0.15", 30, "95-97 %"),
    compared("mse", 128, "0.1", 30, "95-97 %"),
    compared("mse", 128, "0.15", 40, "95-97 %"),
    compared("entropy", 64, "0.01", 40, TRAINED),
    compared("entropy", 64, "0.1", 10, TRAINED),
    compared("entropy", 64, "0.15", 40, TRAINED, "97.4"),
    compared("entropy", 128, "0.1", 30, TRAINED),
    compared("entropy", 128, "0.15", 20, TRAINED),
    Row("mnist_mlp_seconds", "784-256-128-10, batch normalization, one cycle"),
    Row("fashion_mlp_seconds", "Fashion-MNIST: 784-256-128-10, the same"),
    Row("mnist_mlp_quick", "784-512-256-10, augmentation"),
    Row("mnist_mlp", "784-1024-512-10, augmentation", minutes=True),
    Row("fashion_mlp", "Fashion-MNIST: 784-1024-512-10, mirrored images", minutes=True),
    Row("mnist_cnn", "convolutions of 16, 48 and 96 channels, augmentation", minutes=True),
    Row("fashion_cnn", "Fashion-MNIST: the same, mirrored images", minutes=True),
]


@dataclass(frozen=True)
class Result:
    """What a finished run has reached."""

    test: float
    train: float
    seconds: float
    environment: Mapping[str, Any]


def main() -> int:
    """Do what the command line asks for, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", metavar="PRESET|SETTING", help="these presets alone")
    parser.add_argument("--quick", action="store_true", help="one seed, nothing that takes minutes")
    parser.add_argument(
        "--root", metavar="FOLDER", help="has mnist/ and fashion_mnist/; else they are downloaded"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/results"), metavar="FOLDER", help="of the runs"
    )
    parser.add_argument(
        "--readme", type=Path, default=ROOT / "README.md", metavar="FILE", help="has the table"
    )
    given = parser.parse_intermixed_args()

    from nn.errors import Mistake

    try:
        return results(given)
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 2


def results(given: argparse.Namespace) -> int:
    """Run what is missing, and write the table of all that is there, or show a part of it."""
    from nn.config.compose import configuration
    from nn.errors import Mistake
    from nn.io.files import write_whole

    presets, settings = parted(given.words)
    before, after = around(given.readme)
    digests = {
        (row, seed): digest(configuration(words(row, seed, given.root, settings)))
        for row in ROWS
        for seed in SEEDS
    }
    finished = dict(found(given.output))
    for (row, seed), wanted in digests.items():
        asked = row.preset in presets if presets else not (given.quick and row.minutes)
        if wanted in finished or not asked or (given.quick and seed):
            continue
        folder = given.output / row.preset / f"{seed}-{wanted[:8]}"
        status = train(words(row, seed, given.root, settings), folder)
        if status:
            return status
        finished |= found(folder)
    reached = {
        row: [finished[digests[row, seed]] for seed in SEEDS if digests[row, seed] in finished]
        for row in ROWS
    }
    if presets:
        print("\n".join(table({row: reached[row] for row in ROWS if row.preset in presets})))
        return 0
    text = "\n".join([f"{before}{BEGIN}", *table(reached), f"{END}{after}"])
    try:
        write_whole(given.readme, text.encode())
    except OSError as error:
        raise Mistake(f"{given.readme} cannot be written: {error.strerror}.") from None
    print(f"The table is in {given.readme}.")
    return 0


def parted(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell the presets on the command line from settings for all of them."""
    from nn.errors import Mistake

    presets = [word for word in given if "=" not in word]
    known = [row.preset for row in ROWS]
    for preset in presets:
        if preset not in known:
            raise Mistake(f"{preset}: there is no such row; there is {', '.join(known)}.")
    return presets, [word for word in given if "=" in word]


def around(readme: Path) -> tuple[str, str]:
    """Read what stands before and after the table."""
    from nn.errors import Mistake

    try:
        text = readme.read_text()
    except OSError as error:
        raise Mistake(f"{readme} cannot be read: {error.strerror}.") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Mistake(f"{readme}: the table stands between {BEGIN} and {END}, which are missing.")
    return before, after


def words(row: Row, seed: int, root: str | None, settings: Sequence[str]) -> list[str]:
    """Say what train.py is asked for."""
    dataset = "fashion_mnist" if row.preset.startswith("fashion") else "mnist"
    place = [f"dataset.root={root}/{dataset}"] if root else []
    return [f"experiment={row.preset}", f"seed={seed}", *place, *settings]


def digest(config: Mapping[str, Any]) -> str:
    """The SHA-256 of all settings that a result depends on, wherever the files are."""
    settings = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT}
    dataset = {k: v for k, v in config["dataset"].items() if k not in ("root", "homes")}
    text = json.dumps({**settings, "dataset": dataset}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def found(folder: Path) -> Iterator[tuple[str, Result]]:
    """Read the finished runs in a folder, by the digests of their configurations."""
    from nn.errors import Mistake
    from nn.runs.reader import Saved, runs_in

    for run in runs_in(folder):
        try:
            saved = Saved.read(run)
        except Mistake as mistake:
            print(mistake, file=sys.stderr)
            continue
        if saved.summary.get("status") == "finished" and saved.history:
            yield (
                digest(saved.config),
                Result(
                    saved.summary["test/accuracy"],
                    saved.history[-1]["train/accuracy"],
                    saved.summary["seconds"],
                    saved.environment,
                ),
            )


def train(overrides: Sequence[str], folder: Path) -> int:
    """Run the command that a person would, or go on with a run that was cut off."""
    begun = (folder / "config.yaml").exists()
    asked = [f"resume={folder}"] if begun else [*overrides, f"hydra.run.dir={folder}"]
    print(f"$ python scripts/train.py {' '.join(asked)}", flush=True)
    process = subprocess.Popen([sys.executable, ROOT / "scripts/train.py", *asked])
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()  # until its state is saved
        raise


def table(reached: Mapping[Row, Sequence[Result]]) -> Iterator[str]:
    """Write a line for each preset, and under them where and when this was."""
    yield ""
    yield (
        "| `experiment=` | network | claimed | there, % | here, % | seconds there | seconds here |"
    )
    yield "|---|---|---|---|---|---|---|"
    for row, results in reached.items():
        here = spread([each.test for each in results])
        if row.claim == TRAINED:
            here += f"; of training {spread([each.train for each in results])}"
        times = [each.seconds for each in results]
        seconds = f"{statistics.median(times):.3g}" if times else MISSING
        cells = (f"`{row.preset}`", row.network, row.claim, row.there, here, row.seconds, seconds)
        yield f"| {' | '.join(cells)} |"
    yield ""
    environments = [each.environment for results in reached.values() for each in results]
    if environments:
        processor, numpy = said(environments, "processor"), said(environments, "packages", "numpy")
        yield (
            f"{caption({len(results) for results in reached.values() if results})}, "
            f"one core of {processor} with NumPy {numpy}."
        )
        yield ""


def caption(seeds: set[int]) -> str:
    """Say what the figures are, by the numbers of seeds that the rows rest on."""
    if seeds == {1}:
        return "Test accuracy of one seed, and the seconds of its training"
    numbers = " to ".join(map(str, sorted({min(seeds), max(seeds)})))
    return (
        f"Test accuracy, mean and standard deviation of {numbers} seeds, "
        "and the median of the seconds of training"
    )


def spread(shares: Sequence[float]) -> str:
    """Write a mean with its standard deviation, in percent."""
    if not shares:
        return MISSING
    mean = f"{100 * statistics.mean(shares):.2f}"
    if len(shares) == 1:
        return f"{mean} (one seed)"
    return f"{mean} ± {100 * statistics.stdev(shares):.2f}"


def said(environments: Sequence[Mapping[str, Any]], *keys: str) -> str:
    """Name all that some runs have recorded under a key."""
    values = set()
    for environment in environments:
        value: Any = environment
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        values.add(str(value))
    return ", ".join(sorted(values))


if __name__ == "__main__":
    launch(main, prints_result=True, exits_at_once=False)
