"""Print how two settings differ in their scores, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nn.errors import UserError
from nn.io.paths import relpath
from nn.report import formatting as fmt
from nn.report.data.comparison import flat_settings, name_settings
from nn.report.data.run import RunReader
from nn.report.data.setting import compare_settings, read_setting
from nn.report.pages.comparison import DIFFERENCE_COLUMNS, format_difference
from nn.runs.seeds import SEED


def print_differences(*folders: Path) -> None:
    """Print the difference of each score of two settings with its interval."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{relpath(folder)}: no such directory.")
    settings = [read_setting(folder) for folder in folders]
    differences = compare_settings(*settings)
    paths, seeds = [relpath(folder) for folder in folders], [*map(_list_seeds, settings)]
    if not differences:
        raise UserError(
            f"--compare: {paths[0]} has {seeds[0]}, {paths[1]} has {seeds[1]}; "
            "finish a run of both settings with the same seed."
        )
    names = name_settings(paths, [flat_settings(runs[0].record()) for runs in settings])
    console = Console(highlight=False, soft_wrap=True)
    for letter, path, name, text in zip("AB", paths, names, seeds, strict=True):
        line = f"{letter}: {path}{f' ({name})' if name != path else ''}, {text}"
        console.print(Text("".join(filter(str.isprintable, line))))
    table = Table(box=None, pad_edge=False)
    for title in DIFFERENCE_COLUMNS:
        table.add_column(title, justify="left" if title == "Score" else "right", no_wrap=True)
    for name, difference in differences.items():
        table.add_row(*map(Text, format_difference(name, difference)))
    console.print()
    console.print(table)
    console.print("\nRuns are paired by seed; the interval is that of a paired t-test.")


def _list_seeds(runs: Sequence[RunReader]) -> str:
    """Name the seeds of the finished runs, and how many others are left out."""
    seeds = [fmt.short_setting(run.config[SEED]) for run in runs if run.status == "finished"]
    seeds.sort(key=lambda seed: (len(seed), seed))
    noun = "finished seeds" if len(seeds) > 1 else "finished seed"
    text = f"{noun} {fmt.join(seeds)}" if seeds else "no finished run"
    others = len(runs) - len(seeds)
    return f"{text} and {fmt.count(others, 'run')} without a result" if others else text
