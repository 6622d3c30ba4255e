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

from benchmarks.commands import compare_start, compare_sweep
from benchmarks.searches import told_searches
from benchmarks.tasks import QUICK, TASKS, TRACKING, Task
from benchmarks.turns import compare, compare_memory, work

from nn.cli.arguments import at_least
from nn.cli.launch import launch


def measure(quick: bool, rounds: int) -> Iterator[dict[str, Any]]:
    """Make all comparisons."""
    for task in QUICK if quick else TASKS:
        yield from compare(task, rounds)
    yield from compare_start(min(rounds, 3) if quick else rounds)
    if not quick:
        yield from compare_memory()
        yield from compare_sweep(rounds)
        yield from compare(TRACKING, rounds)


def told_ratios(words: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Print the ratios as a table, row by row."""
    print(f"{'net':7}{'batch':>6} {'optimizer':10}{'against':25}{'ratio':>6}   lowest highest")
    for result in measure(words.quick, words.rounds):
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
    parser.add_argument("--rounds", type=at_least(1), default=7, help="turns of each system (7)")
    parser.add_argument(
        "--surfaces",
        type=at_least(1),
        metavar="SEEDS",
        help="instead, hold the searches of sweeps against each other on surfaces with a formula",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ratios there as well")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.work:
        system, *task = json.loads(words.work)
        work(system, Task(*task))
        return 0
    if words.json and (words.json.is_dir() or not os.access(words.json.parent, os.W_OK)):
        parser.error(f"--json {words.json}: no file can be written there")
    told = told_searches(words.surfaces, words.quick) if words.surfaces else told_ratios(words)
    results = list(told)
    if words.json:
        words.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    launch(main, prints_result=True, exits_at_once=False)
