"""Benchmark this library against bare matrix products and other libraries.

Each system runs in its own process on one core. The systems take turns, with a pause between them,
because idle BLAS threads disturb the next system. Printed are the median, the lowest and the
highest ratio over all rounds, where a ratio is the time of the other system relative to this
library's: above 1 means that this library is faster. Libraries that are not installed are skipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.compare import SINGLE_THREAD_ENV, Ratio, compare_epoch_times, compare_peak_memory
from benchmarks.end_to_end import compare_startup, compare_sweep
from benchmarks.samplers import SamplerComparison, print_sampler_comparison
from benchmarks.tasks import QUICK_TASKS, TASKS, TRACKING_TASK

from nn.cli.arguments import create_parser, int_at_least, run_command
from nn.cli.launch import launch

if TYPE_CHECKING:
    from benchmarks.replicates import RegretComparison
    from benchmarks.search import SearchComparison


def main() -> int:
    """Run the benchmarks of the command line, and return the exit status."""
    parser = create_parser("benchmark", __doc__)
    parser.add_argument("--quick", action="store_true", help="run a few tasks only, in a minute")
    parser.add_argument(
        "--rounds", type=int_at_least(1), default=7, help="measurements of each system (default: 7)"
    )
    parser.add_argument(
        "--samplers",
        type=int_at_least(1),
        metavar="SEEDS",
        help="compare the samplers of sweeps on test functions instead, with SEEDS seeds each",
    )
    parser.add_argument(
        "--replicates",
        type=Path,
        metavar="TABLE",
        help="compare sweeps with one and with several seeds instead; runs that the file TABLE "
        "lacks are trained and recorded in it first",
    )
    parser.add_argument(
        "--search",
        type=Path,
        metavar="DIRECTORY",
        help="compare ways of choosing, stopping and pausing trials instead; learning curves that "
        "the tables in DIRECTORY lack are recorded first",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    args = parser.parse_args()
    for option, path in (("--json", args.json), ("--replicates", args.replicates)):
        if path and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            parser.error(f"{option} {path}: no file can be written there")
    if args.search:
        directory = args.search if args.search.exists() else args.search.parent
        if not directory.is_dir() or not os.access(directory, os.W_OK):
            parser.error(f"--search {args.search}: no files can be written there")
    rows: Iterable[Ratio | SamplerComparison | RegretComparison | SearchComparison]
    rows = print_ratios(args.quick, args.rounds)
    if args.replicates:
        os.environ.update(SINGLE_THREAD_ENV)  # read when the module below loads NumPy
        from benchmarks.replicates import print_strategy_comparison

        rows = print_strategy_comparison(args.replicates, args.quick)
    elif args.search:
        os.environ.update(SINGLE_THREAD_ENV)
        from benchmarks.search import print_search_comparison

        rows = print_search_comparison(args.search, args.quick)
    elif args.samplers:
        rows = print_sampler_comparison(args.samplers, args.quick)
    results = [asdict(row) for row in rows]
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def print_ratios(quick: bool, rounds: int) -> Iterator[Ratio]:
    """Print the ratios as a table, and yield them."""
    print(f"{'task':7}{'batch':>6} {'optimizer':10}{'baseline':25}{'ratio':>6}   lowest highest")
    for row in run_comparisons(quick, rounds):
        task = f"{row.task.name:7}{row.task.batch_size:6} {row.task.optimizer:10}"
        ratio = f"{row.ratio:6.2f}   {row.low:6.2f} {row.high:6.2f}"
        print(f"{task}{row.baseline:25}{ratio}", flush=True)
        yield row


def run_comparisons(quick: bool, rounds: int) -> Iterator[Ratio]:
    """Run all comparisons, or a few of them if `quick`, and yield their ratios."""
    for task in QUICK_TASKS if quick else TASKS:
        yield from compare_epoch_times(task, rounds)
    yield from compare_startup(min(rounds, 3) if quick else rounds)
    if not quick:
        yield from compare_peak_memory()
        yield from compare_sweep(rounds)
        yield from compare_epoch_times(TRACKING_TASK, rounds)


if __name__ == "__main__":
    launch(partial(run_command, main), prints_result=True, exits_at_once=False)
