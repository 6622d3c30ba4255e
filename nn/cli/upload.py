"""Upload runs, or all runs of a sweep, from their folders to W&B; to do it again does no harm."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Do what the command line asks for, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_OR_SWEEP")
    args = parser.parse_args()

    from nn.errors import UserError
    from nn.runs.upload import upload_runs

    try:
        return upload_runs(args.folders)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
