"""Upload runs, or all runs of a sweep, to W&B; runs that are already there are overwritten."""

from __future__ import annotations

from pathlib import Path

from nn.cli.arguments import create_parser, run_command


def main() -> int:
    """Upload runs, and return the exit status."""
    parser = create_parser("upload", __doc__)
    parser.add_argument("directories", nargs="+", type=Path, metavar="RUN_OR_SWEEP")
    args = parser.parse_args()

    from nn.runs.upload import upload_runs

    return run_command(lambda: upload_runs(args.directories))
