"""Make a page of a run, a sweep, a folder of runs, or of several runs side by side."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nn.cli.arguments import int_at_least


def main() -> int:
    """Do what the command line asks for, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page (FOLDER/report.html)")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    parser.add_argument(
        "--pages", type=int_at_least(1), metavar="N", help="pages of a sweep's best N"
    )
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="pictures there, no page")
    parser.add_argument(
        "--wandb",
        metavar="ENTITY/PROJECT[/SWEEP]",
        help="a report in W&B, no page; the same one again when it is there",
    )
    args = parser.parse_args()

    from nn.errors import SaveError, UserError
    from nn.report.build import ReportOptions, build_report

    try:
        build_report(
            ReportOptions(args.folders, args.output, args.open, args.pages, args.png, args.wandb)
        )
    except (UserError, SaveError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    return 0
