"""Run a W&B sweep file on all cores, without a server."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from nn.cli import steer
from nn.cli.arguments import create_parser, int_at_least, parse_name, parse_seconds, run_command


def main() -> int:
    """Run, check or steer a sweep, and return the exit status."""
    if sys.argv[1:2] and sys.argv[1] in steer.VERBS:
        return steer.main()
    args = parse_args()
    from nn.config.search_path import make_cwd_importable
    from nn.sweeps.options import SweepOptions
    from nn.sweeps.run import check_sweep, run_sweep

    make_cwd_importable()
    sweep_name, sweeps_dir = args.name or args.file.stem, Path("runs/sweeps")
    sweep_dir = args.output or sweeps_dir / sweep_name
    options = SweepOptions(
        sweep_file=args.file,
        max_trials=args.count,
        num_workers=args.workers,
        seed=args.seed,
        sampler=args.sampler,
        name=sweep_name,
        sweep_dir=sweep_dir,
        resume=args.resume,
        storage=args.storage,
        grace_seconds=args.grace_period,
        overrides=tuple(args.overrides),
        config_dir=args.config_dir,
        replicates=args.replicates,
        no_racing=args.no_racing,
        scheduler=args.scheduler,
        epochs_budget=args.epochs_budget,
        timeout_seconds=args.timeout,
        warm_start=tuple(
            Path(name) if Path(name).exists() else sweeps_dir / name for name in args.warm_start
        ),
    )
    return run_command(lambda: check_sweep(options) if args.check else run_sweep(options))


def parse_args() -> argparse.Namespace:
    """Parse the command line, where options may stand between the overrides."""
    parser = create_parser("sweep", __doc__)
    verbs = ", ".join(steer.VERBS)
    parser.epilog = (
        f"To steer a sweep, start with one of {verbs}; see {parser.prog} status --help. A sweep "
        "file of such a name is ./status."
    )
    parser.add_argument("file", type=Path, help="a sweep file, such as sweeps/random.yaml")
    parser.add_argument("overrides", nargs="*", help="settings of all trials, such as epochs=5")
    parser.add_argument(
        "--count", type=int_at_least(1), help="total number of points (default: the file's run_cap)"
    )
    parser.add_argument(
        "--replicates",
        type=int_at_least(1),
        metavar="N",
        help="run each point with up to N seeds, as long as it can be among the best (default: 1)",
    )
    parser.add_argument(
        "--no-racing", action="store_true", help="run each point with all seeds of --replicates"
    )
    parser.add_argument(
        "--scheduler",
        choices=["asha"],
        help="asha: trials pause after 1, 3, 9, ... epochs, and the best third continues each time "
        "(min_iter and eta of early_terminate change these numbers)",
    )
    parser.add_argument(
        "--epochs-budget",
        type=int_at_least(1),
        metavar="N",
        help="start no new trial once all have N epochs in total",
    )
    parser.add_argument(
        "--timeout",
        type=parse_seconds,
        metavar="SECONDS",
        help="start no new trial after this time",
    )
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument(
        "--workers",
        type=int_at_least(1),
        default=num_cores,
        help="number of processes (default: one per core)",
    )
    parser.add_argument("--seed", type=int_at_least(0), help="seed of the sampler (default: 0)")
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="sampler of method: bayes: gp (Gaussian process), tpe, cmaes, random, qmc or "
        "optuna-gp (default: gp)",
    )
    parser.add_argument(
        "--warm-start",
        nargs="+",
        action="extend",
        default=[],
        metavar="SWEEP|DIR",
        help="earlier sweeps, or directories of runs, from which method: bayes learns",
    )
    parser.add_argument(
        "--name", type=parse_name, help="name of the sweep (default: that of the file)"
    )
    parser.add_argument("--output", type=Path, help="sweep directory (default: runs/sweeps/NAME)")
    parser.add_argument("--resume", action="store_true", help="continue or change a sweep")
    parser.add_argument(
        "--storage",
        metavar="URL|FILE",
        help="study shared with other machines: postgresql://USER@HOST/DATABASE, or a file",
    )
    parser.add_argument(
        "--grace-period",
        type=parse_seconds,
        default=60.0,
        help="seconds without a heartbeat until another machine is considered dead (default: 60)",
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="directory of your own config files, such as DIR/optimizer/mine.yaml",
    )
    parser.add_argument(
        "--check", action="store_true", help="only check the file, and whether it suits the options"
    )
    args = parser.parse_intermixed_args()
    settings = [text for text in args.warm_start if "=" in text and not Path(text).exists()]
    args.warm_start = [text for text in args.warm_start if text not in settings]
    args.overrides += settings  # which may follow the directories
    for override in args.overrides:
        if "=" not in override:
            parser.error(f"{override}: a setting is written KEY=VALUE, such as epochs=5")
    return args
