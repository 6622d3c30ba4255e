"""Write a page about a run, a sweep, a directory of runs, or several runs side by side."""

from __future__ import annotations

import argparse
import atexit
import gc
from pathlib import Path

from nn.cli.arguments import create_parser, int_at_least, parse_port, run_command

TABLE_FORMATS = ("latex", "csv", "markdown")


def main() -> int:
    """Write a report, and return the exit status."""
    parser = create_parser("report", __doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="path of the page (default: DIR/report.html)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--top-runs",
        type=int_at_least(1),
        metavar="N",
        help="also write pages of the trials of a sweep's best N points, or list the best N in a "
        "table",
    )
    parser.add_argument(
        "--png-dir", type=Path, metavar="DIR", help="write PNG files to DIR instead of a page"
    )
    for name in TABLE_FORMATS:
        parser.add_argument(
            f"--{name}",
            type=Path,
            metavar="FILE",
            help="write a table of settings and scores to FILE instead of a page",
        )
    parser.add_argument(
        "--wandb",
        metavar="ENTITY/PROJECT[/SWEEP]",
        help="create or update a W&B report instead of a page",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="print the differences of two settings, each a run, a folder of runs that differ in "
        "their seed only, or a trial of a sweep with its replicates",
    )
    parser.add_argument(
        "--live", action="store_true", help="serve live pages on this machine until Ctrl-C"
    )
    parser.add_argument(
        "--port", type=parse_port, metavar="N", help="port of --live (default: any free one)"
    )
    args = parser.parse_args()
    if args.compare:
        return run_command(lambda: _compare(args))
    if args.live or args.port is not None:
        return run_command(lambda: _serve(args))

    # The data of a report stay in use: the search for garbage, also at exit, takes a quarter of the
    # time.
    gc.disable()
    atexit.register(gc.freeze)
    try:
        return run_command(lambda: _write(args))
    finally:
        gc.enable()  # for callers that keep running, such as a notebook


def _write(args: argparse.Namespace) -> None:
    """Write the report."""
    from nn.report.build import ReportOptions, build_report

    build_report(
        ReportOptions(
            folders=args.folders,
            output=args.output,
            open_browser=args.open,
            num_trial_pages=args.top_runs,
            png_dir=args.png_dir,
            wandb_path=args.wandb,
            tables={name: p for name in TABLE_FORMATS if (p := getattr(args, name)) is not None},
        )
    )


def _serve(args: argparse.Namespace) -> None:
    """Serve the live report if the other options fit."""
    from nn.errors import UserError

    if not args.live:
        raise UserError("--port: requires --live.")
    if len(args.folders) > 1:
        raise UserError("--live: requires a single directory.")
    _refuse_options(args, "--live")
    from nn.report.server import serve

    serve(args.folders[0], args.port or 0, args.open)


def _refuse_options(args: argparse.Namespace, other: str) -> None:
    """Refuse the options of a report that is written to files."""
    from nn.errors import UserError

    for option in ("output", "top_runs", "png_dir", *TABLE_FORMATS, "wandb"):
        if getattr(args, option) is not None:
            raise UserError(f"--{option.replace('_', '-')}: cannot be combined with {other}.")


def _compare(args: argparse.Namespace) -> None:
    """Print the paired differences of two settings if the other options fit."""
    from nn.errors import UserError

    if args.live or args.open or args.port is not None:
        raise UserError("--compare: cannot be combined with --live, --port and --open.")
    _refuse_options(args, "--compare")
    if len(args.folders) != 2:
        raise UserError("--compare: requires two directories, one per setting.")
    from nn.report.compare import print_differences

    print_differences(*args.folders)
