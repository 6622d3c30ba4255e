"""Run a W&B sweep file on every core, without a server; --help tells the rest."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from nn.cli.arguments import int_at_least


def main() -> int:
    """Do what the command line asks for, and give the exit status."""
    args = parse_args()
    from nn.errors import SaveError, SweepError, UserError
    from nn.sweeps.options import SweepOptions
    from nn.sweeps.run import check_sweep, run_sweep

    sweep_name = args.name or args.file.stem
    sweep_dir = args.output or Path("runs/sweeps") / sweep_name
    try:
        if args.check:
            return check_sweep(args.file, args.overrides)
        return run_sweep(
            SweepOptions(
                args.file,
                args.count,
                args.workers,
                args.seed,
                args.sampler,
                sweep_name,
                sweep_dir,
                args.resume,
                args.storage,
                args.grace,
                tuple(args.overrides),
            )
        )
    except (UserError, SaveError, SweepError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="a sweep file, such as sweeps/random.yaml")
    parser.add_argument("overrides", nargs="*", help="settings for all trials, such as epochs=5")
    parser.add_argument("--count", type=int_at_least(1), help="trials in all (the file's run_cap)")
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument(
        "--workers", type=int_at_least(1), default=num_cores, help="processes (one for each core)"
    )
    parser.add_argument("--seed", type=int_at_least(0), help="of the search (0)")
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="of method: bayes: gp, tpe, cmaes, random, qmc or optuna-gp (gp, a Gaussian process)",
    )
    parser.add_argument("--name", type=parse_name, help="of the sweep (the file's)")
    parser.add_argument("--output", type=Path, help="its folder (runs/sweeps/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with a sweep that was stopped")
    parser.add_argument(
        "--storage",
        metavar="PLACE",
        help="shared with other machines: postgresql://USER@HOST/DATABASE, or a file",
    )
    parser.add_argument(
        "--grace",
        type=parse_seconds,
        default=60.0,
        help="seconds without a sign of life after which another machine counts as gone (60)",
    )
    parser.add_argument("--check", action="store_true", help="only say what is wrong with the file")
    args = parser.parse_intermixed_args()
    for override in args.overrides:
        if "=" not in override:
            parser.error(f"{override}: a setting is written KEY=VALUE, such as epochs=5")
    return args


def parse_seconds(text: str) -> float:
    """Take a duration."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 10**6:
        raise argparse.ArgumentTypeError(f"{text} must be a number of seconds, at least 1")
    return value


def parse_name(text: str) -> str:
    """Take the name of a folder."""
    if not text or text.startswith(".") or not all(c.isalnum() or c in "_-." for c in text):
        raise argparse.ArgumentTypeError(f"{text!r} must be of letters, digits, - and _")
    return text
