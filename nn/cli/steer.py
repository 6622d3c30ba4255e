"""Steer a sweep that runs in another process, on this machine or others.

SWEEP is the name of a sweep in runs/sweeps, its directory, its shared storage, or
ENTITY/PROJECT/SWEEP in W&B.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from nn.cli.arguments import create_parser, parse_name, run_command

if TYPE_CHECKING:
    from nn.sweeps.steering import SteerableSweep

VERBS = {
    "status": "print the state of the sweep, of running trials and of the queue",
    "enqueue": "put a point at the head of the queue",
    "pause": "pause running trials after their next epoch and start no new ones",
    "resume": "let a paused or stopped sweep continue",
    "stop": "end the sweep, or some of its trials, after the next epoch",
    "retry": "run the points of failed or other ended trials again",
}
"""Commands that may stand in place of a sweep file, with their descriptions."""


def main() -> int:
    """Carry out a request, and return the exit status."""
    args = parse_args()
    from nn.config.search_path import make_cwd_importable

    make_cwd_importable()
    return run_command(lambda: _print_lines(_steer(args)))


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = create_parser("sweep", __doc__)
    subparsers = parser.add_subparsers(dest="verb", required=True)
    for verb, description in VERBS.items():
        subparser = subparsers.add_parser(verb, help=description, description=description)
        subparser.add_argument(
            "sweep", metavar="SWEEP", help="name, directory, storage or W&B path"
        )
        subparser.set_defaults(arguments=[])
        subparser.add_argument(
            "--name", type=parse_name, help="name of the study, if a shared storage has several"
        )
        if verb == "status":
            subparser.add_argument(
                "--trials",
                action="store_true",
                help="print only a line for each trial, with tabs: number, status, machine, epoch, "
                "value, parameters",
            )
        elif verb == "enqueue":
            subparser.add_argument(
                "arguments", nargs="+", metavar="KEY=VALUE", help="values, such as lr=0.1"
            )
        elif verb == "stop":
            subparser.add_argument(
                "arguments", nargs="*", metavar="TRIAL", help="number of a trial (default: all)"
            )
        elif verb == "retry":
            subparser.add_argument(
                "arguments",
                nargs="*",
                metavar="failed|TRIAL",
                help="number of a trial (default: all failed ones)",
            )
    return parser.parse_args()


def _steer(args: argparse.Namespace) -> Iterator[str]:
    from nn.sweeps.location import SweepLocation
    from nn.sweeps.steering import StoredSweep
    from nn.sweeps.wandb_steering import WandbSweep, is_wandb_path

    if is_wandb_path(args.sweep):
        yield from _carry_out(args, WandbSweep(args.sweep))
    else:
        location = SweepLocation.find(args.sweep, args.name)
        with closing(StoredSweep(location, read_only=args.verb == "status")) as sweep:
            yield from _carry_out(args, sweep)


def _carry_out(args: argparse.Namespace, sweep: SteerableSweep) -> Iterator[str]:
    if args.verb == "status":
        return sweep.tabulate() if args.trials else sweep.describe()
    return sweep.carry_out(args.verb, args.arguments)


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
