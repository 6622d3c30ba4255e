"""Benchmark this library against bare matrix products and other libraries.

Each system runs in its own process on one core. The systems take turns, with a pause between them,
because idle BLAS threads disturb the next system. Printed are the median, the lowest and the
highest ratio over all rounds, where a ratio is the time of the other system relative to this
library's: above 1 means that this library is faster. Libraries that are not installed are skipped.
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
    """Run all comparisons, or a few of them if `quick`, and yield their ratios."""
    for task in QUICK_TASKS if quick else TASKS:
        yield from compare_epoch_times(task, rounds)
    yield from compare_startup(min(rounds, 3) if quick else rounds)
    if not quick:
        yield from compare_peak_memory()
        yield from compare_sweep(rounds)
        yield from compare_epoch_times(TRACKING_TASK, rounds)


def print_ratios(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Print the ratios as a table, and yield them."""
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
    """Run the benchmarks of the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="run three tasks only, in less than a minute"
    )
    parser.add_argument(
        "--rounds", type=int_at_least(1), default=7, help="measurements of each system (default: 7)"
    )
    parser.add_argument(
        "--surfaces",
        type=int_at_least(1),
        metavar="SEEDS",
        help="compare the samplers of sweeps on test functions instead, with SEEDS seeds each",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
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
