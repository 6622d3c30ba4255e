"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shlex
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

from nn.errors import as_typed
from nn.io.paths import short
from nn.sweeps.runner import Engine, Running
from nn.sweeps.space import Point, words
from nn.sweeps.trials import Trials, is_retriable, read_summary
from nn.sweeps.worker import Report

UNLIMITED = 1000
"""Columns of what is no terminal."""
SHOWN = 10
"""Trials in the table at the end."""


class SweepScreen:
    """Shows a sweep as it goes."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = UNLIMITED
        self.live = Live(console=self.console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a terminal that has gone away
            self.live.stop()

    def show(self, engine: Engine) -> None:
        """Show the trials that run, the best so far, and the time that is left."""
        if not self.live.is_started:
            return
        table = Table(box=None, pad_edge=False)
        for title in ("trial", "epoch", "now", "parameters"):
            table.add_column(title, style="dim" if title == "parameters" else "")
        for trial in engine.running:
            now = "" if trial.value is None else f"{trial.value:.4g}"
            point = _spelled(engine.trials.point(trial.number))
            table.add_row(str(trial.number), str(trial.epoch), now, point)
        self.live.update(Group(table, Text(_standing(engine))), refresh=True)

    def ended(self, engine: Engine, trial: Running, report: Report, value: float | None) -> None:
        """Show a line for a trial that has ended."""
        seconds = time.monotonic() - trial.began
        scored = "" if value is None or engine.sweep.metric is None else (
            f"  {engine.sweep.metric.name} {value:.4g}"
        )  # fmt: skip
        reason = f"  {report.reason}" if report.reason else ""
        point = _spelled(engine.trials.point(trial.number))
        told = f"trial {trial.number:4} {report.status:9}{scored}  {point}  {seconds:.1f} s{reason}"
        self.console.print(Text(told))

    def result(
        self, trials: Trials, fixed: tuple[Sequence[str], Sequence[str]], reason: str
    ) -> None:
        """Show the ranking, what mattered, and how the best trial is repeated."""
        ranked, metric = trials.ranked(), trials.sweep.metric
        total = f"{reason} Trials: {len(trials.all)}, in {short(trials.folder)}".strip()
        if trials.failed:
            total = f"{_failures(trials)}\n{total}"
        if not ranked or metric is None:
            self.console.print(total)
            return
        self.console.print()
        unlimited = self.console.options.update(width=UNLIMITED)
        for scores in (("val/accuracy", "test/accuracy"), ("test/accuracy",), ()):
            table = _ranking(trials, ranked[:SHOWN], metric.name, scores)
            if self.console.measure(table, options=unlimited).maximum <= self.console.width:
                break
        self.console.print(table)
        importance = trials.importance()
        if importance.shares:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in importance.shares.items())
            basis = f"fANOVA, {importance.num_trials} finished trials"
            self.console.print(f"\nParameter importance ({basis}): {shares}")
            if importance.caution:
                self.console.print(importance.caution)
        before, after = fixed
        best = [*before, *words(trials.point(ranked[0].number)), *after]
        self.console.print(f"\n{total}")
        self.console.print("The best again, to the same bits:")
        self.console.print(Text(f"  {shlex.join(['python', 'scripts/train.py', *best])}"))


def say(sentence: str) -> None:
    """Tell something beside the results."""
    print(sentence, file=sys.stderr)


def _failures(trials: Trials) -> str:
    """Say which trials have no result, why, and whether they can be retried."""
    failed = trials.failed
    begun = sum(trials.space.is_complete(trial.params) for trial in trials.all)
    reasons = Counter(str(trial.user_attrs.get("reason")) for trial in failed)
    lines = [f"{begun - len(failed)} of {begun} trials have a result, {len(failed)} failed:"]
    lines += [
        f"  {reason}" + (f" ({times} trials)" if times > 1 else "")
        for reason, times in reasons.most_common(3)
    ]
    if retriable := sum(map(is_retriable, failed)):
        lines.append(f"--resume retries {retriable} of them.")
    return "\n".join(lines)


def _ranking(
    trials: Trials, ranked: Sequence[FrozenTrial], metric: str, scores: Sequence[str]
) -> Table:
    """Build the table of the best trials, with those scores of their runs that any of them has.

    The trials that have failed stand below.
    """
    ranked = [*ranked, *trials.failed[:SHOWN]]
    summaries = [read_summary(trial, trials.path(trial.number)) for trial in ranked]
    columns = {score: [_accuracy(summary.get(score)) for summary in summaries] for score in scores}
    columns = {score: cells for score, cells in columns.items() if any(cells) and score != metric}
    table = Table(box=None, pad_edge=False)
    for title in ("rank", metric, *columns, "trial", "state", *trials.space.parameters):
        table.add_column(title, justify="left" if title == "state" else "right")
    for place, trial in enumerate(ranked):
        point = trials.space.from_optuna(trial.params)
        value, status = trial.user_attrs["objective"], trial.user_attrs["status"]
        rank, scored = ("", "") if value is None else (str(place + 1), f"{value:.5g}")
        parameters = (_short(point[name]) for name in trials.space.parameters)
        shown = (cells[place] for cells in columns.values())
        table.add_row(rank, scored, *shown, str(trial.number), status, *parameters)
    return table


def _accuracy(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else ""


def _standing(engine: Engine) -> str:
    done, total = len(engine.took), engine.total
    parts = [f"{len(engine.trials.all) - len(engine.running)} of {total or 'open'} done"]
    if engine.best:
        parts.append(f"best {engine.best[0]:.5g} by trial {engine.best[1]}")
    if done and total:
        left = total - len(engine.trials.all) + len(engine.running) / 2
        rate = (time.monotonic() - engine.began) / done
        parts.append(f"about {_duration(left * rate)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _spelled(point: Point) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in point.items())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_typed(value)
