"""Console output of a sweep: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from optuna.trial import FrozenTrial
from pydantic import JsonValue
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nn.config.overrides import get_override_key
from nn.errors import format_value
from nn.io.command_line import format_command
from nn.io.paths import relpath
from nn.sweeps.distributions import ParameterValue
from nn.sweeps.outcome import read_summary
from nn.sweeps.points import PointRecommendation
from nn.sweeps.space import FixedOverrides, Point
from nn.sweeps.trial_record import TrialUserAttrs
from nn.sweeps.trials import SweepTrials
from nn.sweeps.worker import Decision, RestartMessage, ResultMessage

UNLIMITED_WIDTH = 1000
"""Columns of output that does not go to a terminal, so that no line is wrapped."""
MAX_TRIALS_SHOWN = 10
"""Number of ranked trials, and of failed ones, in the final table."""


@dataclass
class RunningTrial:
    """Progress of a trial that a worker runs."""

    number: int
    _: KW_ONLY
    replicate: int = 0
    is_prunable: bool = False
    """Whether its worker waits for a decision after each epoch."""
    epoch: int = 0
    value: float | None = None
    decision: Decision = "continue"
    """The last decision that the worker was sent."""
    start_time: float = field(default_factory=time.monotonic)


class BestTrial(NamedTuple):
    """The best objective so far and the number of its trial."""

    value: float
    number: int


@dataclass(frozen=True, kw_only=True)
class SweepProgress:
    """Progress of a sweep, and of the trials on this machine."""

    running_trials: Sequence[RunningTrial]
    num_ended: int
    """Number of trials that have ended on this machine."""
    total_points: int | None
    """The number of points planned on all machines, or None if it is not known."""
    best: BestTrial | None
    start_time: float


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

    def show_progress(self, study: SweepTrials, progress: SweepProgress) -> None:
        """Update the live table: running trials, best objective so far and time left."""
        if not self.live.is_started:
            return
        table = Table(box=None, pad_edge=False)
        for title in ("trial", "epoch", "now", "parameters"):
            table.add_column(title, style="dim" if title == "parameters" else "")
        for trial in progress.running_trials:
            value_text = "" if trial.value is None else f"{trial.value:.4g}"
            params_text = _format_trial(study, trial.number)
            table.add_row(str(trial.number), str(trial.epoch), value_text, params_text)
        progress_text = Text(_format_progress(progress, study))
        self.live.update(Group(table, progress_text), refresh=True)

    def print_control(self, study: SweepTrials) -> None:
        """Print that another command has paused, resumed or stopped the sweep."""
        resume_command = format_command("sweep", "resume", relpath(study.sweep_dir))
        sentences = {
            "paused": f"Paused; to continue: {resume_command}",
            "running": "Resumed.",
            "stopped": "Stopping.",
        }
        self.console.print(sentences[study.control])

    def print_trial_result(
        self, study: SweepTrials, trial: RunningTrial, message: ResultMessage, value: float | None
    ) -> None:
        """Print one line for a trial that has ended or is paused."""
        parts = [f"trial {trial.number:4} {message.status:9}"]
        if message.status == "paused":
            parts.append(f"epoch {trial.epoch}")
        if value is not None and study.sweep.metric:
            parts.append(f"{study.sweep.metric.name} {value:.4g}")
        parts.append(_format_trial(study, trial.number))
        parts.append(f"{time.monotonic() - trial.start_time:.1f} s")
        if message.reason:
            parts.append(message.reason)
        self.console.print(Text("  ".join(parts)))

    def print_restart(self, trial: RunningTrial, message: RestartMessage) -> None:
        """Print that a trial which had paused starts over."""
        self.console.print(f"trial {trial.number:4} starts over: {message.reason}")

    def print_missing_offline_runs(self, trial_dirs: Sequence[Path]) -> None:
        """Print how many trials have no offline W&B run although they are tracked."""
        is_one = len(trial_dirs) == 1
        num_trials = "1 trial has" if is_one else f"{len(trial_dirs)} trials have"
        text = (
            f"{num_trials} no offline W&B run, as {relpath(trial_dirs[0])}/output.txt explains; "
            f"--resume writes {'it' if is_one else 'them'}."
        )
        self.console.print(Text(text))

    def print_sweep_result(
        self,
        study: SweepTrials,
        fixed_overrides: FixedOverrides,
        stop_reason: str,
        flags: Sequence[str] = (),
    ) -> None:
        """Print the ranking, the parameter importance and the command for the best trial."""
        ranked_trials, metric = study.rank_trials(), study.sweep.metric
        num_points = f"Points: {len(study.points)}, trials" if study.replicates > 1 else "Trials"
        num_paused = study.num_paused
        paused = f", {num_paused} of them paused" if num_paused else ""
        total = f"{stop_reason} {num_points}: {len(study.trials)}{paused}, in "
        total = (total + relpath(study.sweep_dir)).strip()
        if study.failed_trials:
            total = f"{_format_failures(study)}\n{total}"
        if not ranked_trials or metric is None:
            self.console.print(total)
            return
        self.console.print()
        recommendation = study.recommend()
        if study.replicates > 1:
            best = study.rank_points()[0].point.number
            self.console.print(_build_points_table(study, metric.name, recommendation))
        else:
            best = ranked_trials[0].number
            self._print_ranking_table(study, ranked_trials, metric.name)
        if recommendation:
            for sentence in _describe_recommendation(study, recommendation, best):
                self.console.print(sentence)
        importances = study.get_param_importances()
        if importances.shares:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in importances.shares.items())
            basis = f"fANOVA, {importances.basis}"
            self.console.print(f"\nParameter importance ({basis}): {shares}")
            if importances.warning:
                self.console.print(importances.warning)
        self.console.print(f"\n{total}")
        kind = "point" if study.replicates > 1 else "trial"
        commands = {f"Reproduce the best {kind}:": best}
        if recommendation and recommendation.best != best:
            commands = {f"Reproduce the recommended {kind}:": recommendation.best} | commands
        for title, number in commands.items():
            overrides = _build_train_overrides(study, number, fixed_overrides)
            self.console.print(title)
            self.console.print(Text(f"  {format_command('train', *flags, *overrides)}"))

    def _print_ranking_table(
        self, study: SweepTrials, ranked_trials: Sequence[FrozenTrial], metric_name: str
    ) -> None:
        """Print the table of the best trials, with as many scores as fit."""
        unlimited_options = self.console.options.update(width=UNLIMITED_WIDTH)
        for score_names in (("val/accuracy", "test/accuracy"), ("test/accuracy",), ()):
            table = _build_ranking_table(
                study, ranked_trials[:MAX_TRIALS_SHOWN], metric_name, score_names
            )
            if self.console.measure(table, options=unlimited_options).maximum <= self.console.width:
                break
        self.console.print(table)


def print_to_stderr(message: str) -> None:
    """Print a message that is not part of the results."""
    print(message, file=sys.stderr)


def _format_failures(study: SweepTrials) -> str:
    """Return how many trials failed, the most frequent reasons and how many can be retried."""
    failed = [TrialUserAttrs.of(trial) for trial in study.failed_trials]
    lines = [f"{len(failed)} of {len(study.complete_trials)} trials failed:"]
    for reason, count in Counter(str(record.reason) for record in failed).most_common(3):
        lines.append(f"  {reason}" + (f" ({count} trials)" if count > 1 else ""))
    if num_retriable := sum(record.retriable for record in failed):
        lines.append(f"--resume retries {num_retriable} of them.")
    return "\n".join(lines)


def _build_ranking_table(
    study: SweepTrials,
    ranked_trials: Sequence[FrozenTrial],
    metric_name: str,
    score_names: Sequence[str],
) -> Table:
    """Build the table of the best trials, then those that are paused, then the failed ones.

    A score has a column if the run of any of these trials has it.
    """
    trials = [*ranked_trials, *study.failed_trials[:MAX_TRIALS_SHOWN]]
    summaries = [read_summary(trial, study.get_trial_dir(trial.number)) for trial in trials]
    score_columns = {
        score: cells
        for score in score_names
        if any(cells := [_format_accuracy(summary.get(score)) for summary in summaries])
        and score != metric_name
    }
    table = Table(box=None, pad_edge=False)
    for title in ("rank", metric_name, *score_columns, "trial", "state", *study.space.parameters):
        table.add_column(title, justify="left" if title == "state" else "right")
    for index, trial in enumerate(trials):
        point, record = study.get_point(trial.number), TrialUserAttrs.of(trial)
        has_value = record.objective is not None
        table.add_row(
            str(index + 1) if has_value else "",
            f"{record.objective:.5g}" if has_value else "",
            *(cells[index] for cells in score_columns.values()),
            *(str(trial.number), _format_state(trial)),
            *(
                _format_value(point[name]) if name in point else ""
                for name in study.space.parameters
            ),
        )
    return table


def _format_state(trial: FrozenTrial) -> str:
    """Return how a trial ended, or at which epoch it is paused with its best value so far."""
    attrs = TrialUserAttrs.of(trial)
    return f"paused at epoch {attrs.epochs}" if attrs.status == "paused" else attrs.status


def _build_points_table(
    study: SweepTrials, metric_name: str, recommendation: PointRecommendation | None
) -> Table:
    """Build the table of the best points by the mean over their seeds."""
    table, names = Table(box=None, pad_edge=False), study.space.parameters
    for title in ("rank", metric_name, "±", "seeds", "P(best)", "trial", *names):
        table.add_column(title, justify="right")
    estimates = recommendation.estimates if recommendation else {}
    for rank, ranked in enumerate(study.rank_points()[:MAX_TRIALS_SHOWN], 1):
        number, point = ranked.point.number, ranked.point.point
        has_error, estimate = math.isfinite(ranked.std_error), estimates.get(number)
        table.add_row(
            *(str(rank), f"{ranked.mean:.5g}"),
            f"{ranked.std_error:.2g}" if has_error else "",
            str(ranked.num_seeds),
            f"{estimate.probability_best:.0%}" if estimate else "",
            str(number),
            *(_format_value(point[name]) if name in point else "" for name in names),
        )
    return table


def _describe_recommendation(
    study: SweepTrials, recommendation: PointRecommendation, best: int
) -> Iterator[str]:
    """Yield which point is recommended, if it is not the best, and what may be better."""
    number, kind = recommendation.best, "points" if study.replicates > 1 else "trials"
    if number != best:
        estimate = recommendation.estimates[number]
        yield (
            f"Recommended: trial {number}, with {estimate.mean:.5g} expected from the results of "
            f"all {kind}"
        )
    if study.replicates > 1 and (others := sorted(recommendation.contenders)):
        numbers = ", ".join(map(str, others))
        noun = "trials" if len(others) > 1 else "trial"
        yield f"Statistically indistinguishable from trial {number}: {noun} {numbers}."


def _build_train_overrides(
    study: SweepTrials, number: int, fixed_overrides: FixedOverrides
) -> tuple[str, ...]:
    """Return the overrides that reproduce a trial or, of several seeds, all runs of its point."""
    if edition := study.get_edition(number):
        fixed_overrides = edition.fixed_overrides
    overrides = fixed_overrides.add_point(study.get_recorded_point(number))
    if study.replicates == 1:
        return overrides
    trials = next(point.trials for point in study.points if point.number == number)
    seeds = [study.get_seed(trials[replicate].number) for replicate in sorted(trials)]
    others = [text for text in overrides if get_override_key(text) != "seed"]
    return ("--multirun", f"seed={','.join(map(str, seeds))}", *others)


def _format_accuracy(value: JsonValue) -> str:
    return f"{value:.4f}" if isinstance(value, float) else ""


def _format_progress(progress: SweepProgress, study: SweepTrials) -> str:
    total, num_running = progress.total_points, len(progress.running_trials)
    num_trials = len(study.trials)
    num_paused = study.num_paused
    num_ended = num_trials - num_running - num_paused
    parts = [f"{num_ended} of {total} done" if total else f"{num_ended} done"]
    if study.replicates > 1:
        num_points = len(study.points)
        parts = [f"{num_points} of {total} points" if total else f"{num_points} points"]
        parts.append(f"{num_ended} trials done")
        total = total and not study.racing and total * study.replicates
    if num_paused:
        parts.append(f"{num_paused} paused")
    if progress.best:
        parts.append(f"best {progress.best.value:.5g} by trial {progress.best.number}")
    if progress.num_ended and total and not num_paused:
        num_remaining = total - num_trials + num_running / 2
        seconds_per_trial = (time.monotonic() - progress.start_time) / progress.num_ended
        parts.append(f"about {_format_duration(num_remaining * seconds_per_trial)} left")
    return ", ".join(parts)


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _format_point(point: Point) -> str:
    return " ".join(f"{name}={_format_value(value)}" for name, value in point.items())


def _format_trial(study: SweepTrials, number: int) -> str:
    """Return a trial's point, with its seed if there are several."""
    text = _format_point(study.get_point(number))
    return f"{text} seed={study.get_seed(number)}" if study.replicates > 1 else text


def _format_value(value: ParameterValue) -> str:
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)
