"""Write a page about a run, a sweep, a directory of runs, or several runs side by side."""

from __future__ import annotations

from pathlib import Path

from nn.cli.arguments import create_parser, int_at_least, run_command


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
        help="also write pages of a sweep's best N trials",
    )
    parser.add_argument(
        "--png-dir", type=Path, metavar="DIR", help="write PNG files to DIR instead of a page"
    )
    parser.add_argument(
        "--wandb",
        metavar="ENTITY/PROJECT[/SWEEP]",
        help="create or update a W&B report instead of a page",
    )
    args = parser.parse_args()

    from nn.report.build import ReportOptions, build_report

    options = ReportOptions(
        folders=args.folders,
        output=args.output,
        open_browser=args.open,
        num_trial_pages=args.top_runs,
        png_dir=args.png_dir,
        wandb_path=args.wandb,
    )
    return run_command(lambda: build_report(options))
