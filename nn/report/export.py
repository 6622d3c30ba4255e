"""Tables of settings and scores for papers, as LaTeX, Markdown or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from nn.errors import format_value
from nn.report import formatting as fmt
from nn.report.data.comparison import ComparisonReader
from nn.report.data.index import PageReader
from nn.report.data.run import RunReader
from nn.report.data.sweep import SweepReader
from nn.report.data.wandb_run import WandbRunReader
from nn.runs.seeds import SEED, group_by_seed, mean_and_std
from nn.sweeps.trial_record import ENDED_STATES

SCORES = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a row it would be an argument of the preceding \\
    "±": r"$\pm$",
    fmt.MISSING: "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


@dataclass(frozen=True)
class ScoreRow:
    """Settings with the scores of all runs that have them, whatever their seed."""

    name: str  # of the first of these runs
    settings: Mapping[str, JsonValue]
    scores: Mapping[str, Sequence[float]]
    num_seeds: int


@dataclass(frozen=True)
class ScoreTable:
    """Rows from best to worst, grouped by data set, with the settings that differ."""

    settings: Sequence[str]
    scores: Sequence[str]
    rows: Sequence[ScoreRow]


def build_score_table(reader: PageReader, max_rows: int | None = None) -> ScoreTable:
    """Build the table of a sweep's ended trials, of runs, or of all runs below a directory."""
    if isinstance(reader, SweepReader):
        table = _build_sweep_table(reader)
    elif isinstance(reader, WandbRunReader):
        table = ScoreTable((), (), ())
    else:
        table = _build_run_table([reader] if isinstance(reader, RunReader) else reader.runs)
    return replace(table, rows=table.rows[:max_rows])


def _build_sweep_table(sweep: SweepReader) -> ScoreTable:
    record = sweep.record()
    varied = [each["name"] for each in record["parameters"] if each["is_varied"]]
    trials = [
        (
            f"{trial['number']:04}",
            {name: trial["params"].get(name) for name in varied} | {SEED: trial["seed"]},
            {**trial["scores"], record["metric"]: trial["value"]},
        )
        for trial in sweep.trial_records()
        if trial["value"] is not None and trial["status"] in ENDED_STATES
    ]
    return _group_by_settings(trials, record["metric"], record["goal"] == "minimize")


def _build_run_table(runs: Sequence[RunReader]) -> ScoreTable:
    if not runs:
        return ScoreTable((), (), ())
    comparison = ComparisonReader(runs)
    differing = comparison.record()["settings"]
    compared = [
        (name, {each["name"]: each["values"][index] for each in differing}, scores)
        for index, (name, run) in enumerate(zip(comparison.run_names, runs, strict=True))
        if (scores := run.record()["scores"])
    ]
    return _group_by_settings(compared, "val/accuracy", False)


def _group_by_settings(
    runs: Sequence[tuple[str, Mapping[str, JsonValue], Mapping[str, float | None]]],
    metric: str,
    is_minimized: bool,
) -> ScoreTable:
    """Group runs that differ only in their seed, and sort the groups by the metric's mean."""
    rows = []
    for group in group_by_seed([settings for _, settings, _ in runs]):
        members = {index: runs[index] for index in group.seeds}
        by_score = {
            key: [
                *group.by_seed({index: run[2].get(key) for index, run in members.items()}).values()
            ]
            for key in dict.fromkeys((metric, *SCORES))
        }
        name, num_seeds = next(iter(members.values()))[0], len({*group.seeds.values()})
        rows.append(ScoreRow(name, group.settings, by_score, num_seeds))

    def rank(row: ScoreRow) -> tuple[str, bool, float]:
        values = row.scores[metric]
        value = mean_and_std(values)[0] if values else 0.0
        dataset = str(row.settings.get("dataset"))
        return dataset, not values, value if is_minimized else -value

    rows.sort(key=rank)
    known = [key for key in dict.fromkeys((metric, *SCORES)) if any(r.scores[key] for r in rows)]
    return ScoreTable([*rows[0].settings] if rows else (), known, rows)


def format_csv(table: ScoreTable) -> str:
    """Format with all digits; a score has columns of its mean and standard deviation.

    Values are data: a spreadsheet may interpret one that begins with = as a formula.
    """
    file = io.StringIO()
    writer = csv.writer(file)
    score_names = [name for score in table.scores for name in (score, f"{score} std")]
    writer.writerow(["name", *table.settings, "seeds", *score_names])
    for row in table.rows:
        values = [row.settings[name] for name in table.settings]
        settings = ["" if value is None else format_value(value) for value in values]
        scores: list[float | None] = []
        for name in table.scores:
            scores += mean_and_std(row.scores[name]) if row.scores[name] else (None, None)
        writer.writerow([row.name, *settings, row.num_seeds, *scores])
    return file.getvalue()


def format_markdown(table: ScoreTable) -> str:
    """Format as a pipe table."""
    header, *rows = (
        [re.sub(r"([\\`*_{}\[\]<>#|~$!&])", r"\\\1", cell) for cell in row]
        for row in _format_cells(table)
    )
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def format_latex(table: ScoreTable) -> str:
    """Format as a tabular, which needs the package booktabs."""
    cells = _format_cells(table)
    header, *rows = (
        " & ".join("".join(LATEX_ESCAPES.get(char, char) for char in cell) for cell in row)
        for row in cells
    )
    num_texts = len(table.settings) or 1
    columns = "l" * num_texts + "r" * (len(cells[0]) - num_texts)
    body = "".join(rf"{row} \\" + "\n" for row in rows)
    return rf"""\begin{{tabular}}{{{columns}}}
\toprule
{header} \\
\midrule
{body}\bottomrule
\end{{tabular}}
"""


def _format_cells(table: ScoreTable) -> list[list[str]]:
    """Return the header and the rows as text, with accuracies in percent.

    Names are shown only if no settings differ, the number of seeds only if a row has several.
    """
    has_repeats = any(row.num_seeds > 1 for row in table.rows)
    scores = [f"{name} (%)" if name.endswith("accuracy") else name for name in table.scores]
    cells = [[*(table.settings or ["name"]), *["seeds"] * has_repeats, *scores]]
    for row in table.rows:
        values = [row.settings[name] for name in table.settings]
        settings = [fmt.MISSING if v is None else fmt.short_setting(v) for v in values]
        scores = [
            fmt.mean_and_std(row.scores[name], name.endswith("accuracy")) for name in table.scores
        ]
        cells.append([*(settings or [row.name]), *[str(row.num_seeds)] * has_repeats, *scores])
    return [["".join(filter(str.isprintable, cell)) for cell in line] for line in cells]


FORMATTERS: dict[str, tuple[str, Callable[[ScoreTable], str]]] = {
    "latex": (".tex", format_latex),
    "csv": (".csv", format_csv),
    "markdown": (".md", format_markdown),
}
"""Suffix and function of each format."""
