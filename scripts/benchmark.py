"""Time this library against the bare matrix products and against other libraries.

Every system stands in a process of its own. They take turns, with a pause in between, since idle
BLAS threads disturb whoever comes next; what is told is the median of the ratios of each round,
with the lowest and the highest. A ratio is what they take over what we take. A library that is
not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.commands import compare_startup, compare_sweep
from benchmarks.searches import print_sampler_comparison
from benchmarks.tasks import QUICK_TASKS, TASKS, TRACKING_TASK, Task
from benchmarks.turns import compare_epoch_times, compare_peak_memory, run_worker

from nn.cli.arguments import int_at_least
from nn.cli.launch import launch


def run_comparisons(quick: bool, rounds: int) -> Iterator[dict[str, Any]]:
    """Make all comparisons."""
    for task in QUICK_TASKS if quick else TASKS:
        yield from compare_epoch_times(task, rounds)
    yield from compare_startup(min(rounds, 3) if quick else rounds)
    if not quick:
        yield from compare_peak_memory()
        yield from compare_sweep(rounds)
        yield from compare_epoch_times(TRACKING_TASK, rounds)


def print_ratios(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Print the ratios as a table, row by row."""
    print(f"{'net':7}{'batch':>6} {'optimizer':10}{'against':25}{'ratio':>6}   lowest highest")
    for result in run_comparisons(args.quick, args.rounds):
        print(
            f"{result['net']:7}{result['batch']:6} {result['optimizer']:10}"
            f"{result['against']:25}{result['ratio']:6.2f}   "
            f"{result['low']:6.2f} {result['high']:6.2f}",
            flush=True,
        )
        yield result


def main() -> int:
    """Run the comparisons and print them as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three tasks, within a minute")
    parser.add_argument(
        "--rounds", type=int_at_least(1), default=7, help="turns of each system (7)"
    )
    parser.add_argument(
        "--surfaces",
        type=int_at_least(1),
        metavar="SEEDS",
        help="instead, hold the searches of sweeps against each other on surfaces with a formula",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ratios there as well")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        system, *task = json.loads(args.work)
        run_worker(system, Task(*task))
        return 0
    if args.json and (args.json.is_dir() or not os.access(args.json.parent, os.W_OK)):
        parser.error(f"--json {args.json}: no file can be written there")
    rows = (
        print_sampler_comparison(args.surfaces, args.quick) if args.surfaces else print_ratios(args)
    )
    results = list(rows)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    launch(main, prints_result=True, exits_at_once=False)
