"""Settings, each the runs that differ in their seed only, and the paired difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nn.errors import UserError
from nn.io.paths import relpath
from nn.report.data.comparison import SAME_RUN_MESSAGE, find_differing_settings, flat_settings
from nn.report.data.index import IndexReader, get_reader_class
from nn.report.data.run import RunReader
from nn.report.data.sweep import SweepReader
from nn.report.formatting import join
from nn.runs.reader import SCORES
from nn.runs.seeds import SEED, PairedDifference, compare_paired


def read_setting(folder: Path) -> list[RunReader]:
    """Read the runs of a setting: a run, those of a folder, or a sweep's trial and its replicates.

    Raises:
        UserError: The runs differ in more than their seed, or there are none.
    """
    reader_class = get_reader_class(folder)
    if reader_class not in (RunReader, None):
        raise UserError(
            f"{relpath(folder)}: not a setting; pass a run, a folder of runs that differ in their "
            "seed only, or a trial of a sweep such as SWEEP/trials/0000."
        )
    if reader_class is None:
        runs = IndexReader(folder).runs
    else:
        runs = [RunReader(path) for path in _find_replicates(folder.absolute())]
    if not runs:
        raise UserError(f"{relpath(folder)}: no runs found.")
    differing = find_differing_settings([flat_settings(run.record()) for run in runs])
    if names := [each["name"] for each in differing if each["name"] != SEED]:
        raise UserError(
            f"{relpath(folder)}: its runs differ in {join(names[:3])}; pass a folder whose runs "
            "differ in their seed only."
        )
    return runs


def _find_replicates(run_dir: Path) -> list[Path]:
    """Return the directories of all trials of a trial's point, or that of another run."""
    sweep_dir, number = run_dir.parent.parent, run_dir.name
    if run_dir.parent.name != "trials" or get_reader_class(sweep_dir) is not SweepReader:
        return [run_dir]
    sweep = SweepReader(sweep_dir)
    points = [p for p in sweep.point_records() if number.isdecimal() and int(number) in p["trials"]]
    numbers = [number for point in points for number in point["trials"]]
    folders = [sweep.study.get_trial_dir(number) for number in numbers]
    return [folder for folder in folders if get_reader_class(folder) is RunReader] or [run_dir]


def compare_settings(
    first: Sequence[RunReader], second: Sequence[RunReader]
) -> dict[str, PairedDifference]:
    """Compare each score of two settings over the seeds with which both have a finished run."""
    if {run.path.resolve() for run in first} & {run.path.resolve() for run in second}:
        raise UserError(SAME_RUN_MESSAGE)
    names = [f"{split}/{score}" for split in ("test", "val") for score in SCORES]
    differences = {
        name: compare_paired(_scores_by_seed(first, name), _scores_by_seed(second, name))
        for name in names
    }
    return {name: each for name, each in differences.items() if each is not None}


def _scores_by_seed(runs: Sequence[RunReader], name: str) -> dict[str, float]:
    return {
        str(run.config[SEED]): run.scores[name]
        for run in runs
        if run.status == "finished" and name in run.scores
    }
