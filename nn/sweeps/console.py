"""Console output of a sweep: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from optuna.trial import FrozenTrial
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nn.errors import format_value
from nn.io.command_line import format_command
from nn.io.paths import relpath
from nn.sweeps.runner import RunningTrial, SweepRunner
from nn.sweeps.space import Point, to_overrides
from nn.sweeps.trials import SweepTrials, is_retriable, read_summary
from nn.sweeps.worker import ResultMessage

UNLIMITED_WIDTH = 1000
"""Columns of output that does not go to a terminal, so that no line is wrapped."""
MAX_TRIALS_SHOWN = 10
"""Number of ranked trials, and of failed ones, in the final table."""


class SweepConsole:
    """Display of a running sweep and of its result."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = UNLIMITED_WIDTH
        self.live = Live(console=self.console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # the terminal may have gone away
            self.live.stop()

    def show_progress(self, runner: SweepRunner) -> None:
        """Update the live table: running trials, best objective so far and time left."""
        if not self.live.is_started:
            return
        table = Table(box=None, pad_edge=False)
        for title in ("trial", "epoch", "now", "parameters"):
            table.add_column(title, style="dim" if title == "parameters" else "")
        for trial in runner.running_trials:
            value_text = "" if trial.value is None else f"{trial.value:.4g}"
            params_text = _format_point(runner.study.get_point(trial.number))
            table.add_row(str(trial.number), str(trial.epoch), value_text, params_text)
        self.live.update(Group(table, Text(_format_progress(runner))), refresh=True)

    def print_trial_result(
        self, runner: SweepRunner, trial: RunningTrial, message: ResultMessage, value: float | None
    ) -> None:
        """Print one line for a trial that has ended."""
        parts = [f"trial {trial.number:4} {message.status:9}"]
        if value is not None and runner.sweep.metric:
            parts.append(f"{runner.sweep.metric.name} {value:.4g}")
        parts.append(_format_point(runner.study.get_point(trial.number)))
        parts.append(f"{time.monotonic() - trial.start_time:.1f} s")
        if message.reason:
            parts.append(message.reason)
        self.console.print(Text("  ".join(parts)))

    def print_sweep_result(
        self,
        study: SweepTrials,
        fixed_overrides: tuple[Sequence[str], Sequence[str]],
        stop_reason: str,
    ) -> None:
        """Print the ranking, the parameter importance and the command for the best trial."""
        ranked_trials, metric = study.rank_trials(), study.sweep.metric
        total = f"{stop_reason} Trials: {len(study.trials)}, in {relpath(study.sweep_dir)}".strip()
        if study.failed_trials:
            total = f"{_format_failures(study)}\n{total}"
        if not ranked_trials or metric is None:
            self.console.print(total)
            return
        self.console.print()
        unlimited_options = self.console.options.update(width=UNLIMITED_WIDTH)
        for score_names in (("val/accuracy", "test/accuracy"), ("test/accuracy",), ()):
            table = _build_ranking_table(
                study, ranked_trials[:MAX_TRIALS_SHOWN], metric.name, score_names
            )
            if self.console.measure(table, options=unlimited_options).maximum <= self.console.width:
                break
        self.console.print(table)
        importances = study.get_param_importances()
        if importances.shares:
            shares_text = ", ".join(
                f"{name} {share:.0%}" for name, share in importances.shares.items()
            )
            basis = f"fANOVA, {importances.num_trials} finished trials"
            self.console.print(f"\nParameter importance ({basis}): {shares_text}")
            if importances.warning:
                self.console.print(importances.warning)
        overrides_before, overrides_after = fixed_overrides
        best_overrides = [
            *overrides_before,
            *to_overrides(study.get_point(ranked_trials[0].number)),
            *overrides_after,
        ]
        self.console.print(f"\n{total}")
        self.console.print("Reproduce the best trial:")
        self.console.print(Text(f"  {format_command('train', *best_overrides)}"))


def print_to_stderr(message: str) -> None:
    """Print a message that is not part of the results."""
    print(message, file=sys.stderr)


def _format_failures(study: SweepTrials) -> str:
    """Return how many trials failed, the most frequent reasons and how many can be retried."""
    failed = study.failed_trials
    num_started = sum(study.space.is_complete(trial.params) for trial in study.trials)
    reason_counts = Counter(str(trial.user_attrs.get("reason")) for trial in failed)
    lines = [f"{len(failed)} of {num_started} trials failed:"]
    lines += [
        f"  {reason}" + (f" ({count} trials)" if count > 1 else "")
        for reason, count in reason_counts.most_common(3)
    ]
    if num_retriable := sum(map(is_retriable, failed)):
        lines.append(f"--resume retries {num_retriable} of them.")
    return "\n".join(lines)


def _build_ranking_table(
    study: SweepTrials,
    ranked_trials: Sequence[FrozenTrial],
    metric_name: str,
    score_names: Sequence[str],
) -> Table:
    """Build the table of the best trials, followed by the failed ones.

    A score has a column if the run of any of these trials has it.
    """
    ranked_trials = [*ranked_trials, *study.failed_trials[:MAX_TRIALS_SHOWN]]
    summaries = [read_summary(trial, study.get_trial_dir(trial.number)) for trial in ranked_trials]
    score_columns = {
        score: [_format_accuracy(summary.get(score)) for summary in summaries]
        for score in score_names
    }
    score_columns = {
        score: cells
        for score, cells in score_columns.items()
        if any(cells) and score != metric_name
    }
    table = Table(box=None, pad_edge=False)
    for title in ("rank", metric_name, *score_columns, "trial", "state", *study.space.parameters):
        table.add_column(title, justify="left" if title == "state" else "right")
    for index, trial in enumerate(ranked_trials):
        point = study.space.from_optuna(trial.params)
        value, status = trial.user_attrs["objective"], trial.user_attrs["status"]
        rank, value_text = ("", "") if value is None else (str(index + 1), f"{value:.5g}")
        parameters = (_format_value(point[name]) for name in study.space.parameters)
        score_texts = (cells[index] for cells in score_columns.values())
        table.add_row(rank, value_text, *score_texts, str(trial.number), status, *parameters)
    return table


def _format_accuracy(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else ""


def _format_progress(runner: SweepRunner) -> str:
    num_done, total = len(runner.trial_seconds), runner.total_trials
    num_ended = len(runner.study.trials) - len(runner.running_trials)
    parts = [f"{num_ended} of {total} done" if total else f"{num_ended} done"]
    if runner.best:
        parts.append(f"best {runner.best.value:.5g} by trial {runner.best.number}")
    if num_done and total:
        num_remaining = total - len(runner.study.trials) + len(runner.running_trials) / 2
        seconds_per_trial = (time.monotonic() - runner.start_time) / num_done
        parts.append(f"about {_format_duration(num_remaining * seconds_per_trial)} left")
    return ", ".join(parts)


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _format_point(point: Point) -> str:
    return " ".join(f"{name}={_format_value(value)}" for name, value in point.items())


def _format_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)
