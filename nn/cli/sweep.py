"""Run a W&B sweep file on every core, without a server; --help tells the rest."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from nn.cli.arguments import at_least


def main() -> int:
    """Do what the command line asks for, and give the exit status."""
    words = parsed()
    from nn.errors import Mistake, NotSaved, SweepError
    from nn.sweeps.options import Wanted
    from nn.sweeps.run import check, run

    name = words.name or words.file.stem
    folder = words.output or Path("runs/sweeps") / name
    try:
        if words.check:
            return check(words.file, words.overrides)
        return run(
            Wanted(
                words.file,
                words.count,
                words.workers,
                words.seed,
                words.sampler,
                name,
                folder,
                words.resume,
                words.storage,
                words.grace,
                tuple(words.overrides),
            )
        )
    except (Mistake, NotSaved, SweepError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, Mistake) else 1


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="a sweep file, such as sweeps/random.yaml")
    parser.add_argument("overrides", nargs="*", help="settings for all trials, such as epochs=5")
    parser.add_argument("--count", type=at_least(1), help="trials in all (the file's run_cap)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument(
        "--workers", type=at_least(1), default=cores, help="processes (one for each core)"
    )
    parser.add_argument("--seed", type=at_least(0), help="of the search (0)")
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="of method: bayes: gp, tpe, cmaes, random, qmc or optuna-gp (gp, a Gaussian process)",
    )
    parser.add_argument("--name", type=name, help="of the sweep (the file's)")
    parser.add_argument("--output", type=Path, help="its folder (runs/sweeps/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with a sweep that was stopped")
    parser.add_argument(
        "--storage",
        metavar="PLACE",
        help="shared with other machines: postgresql://USER@HOST/DATABASE, or a file",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=60.0,
        help="seconds without a sign of life after which another machine counts as gone (60)",
    )
    parser.add_argument("--check", action="store_true", help="only say what is wrong with the file")
    words = parser.parse_intermixed_args()
    for word in words.overrides:
        if "=" not in word:
            parser.error(f"{word}: a setting is written KEY=VALUE, such as epochs=5")
    return words


def seconds(text: str) -> float:
    """Take a duration."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 10**6:
        raise argparse.ArgumentTypeError(f"{text} must be a number of seconds, at least 1")
    return value


def name(text: str) -> str:
    """Take the name of a folder."""
    if not text or text.startswith(".") or not all(c.isalnum() or c in "_-." for c in text):
        raise argparse.ArgumentTypeError(f"{text!r} must be of letters, digits, - and _")
    return text
