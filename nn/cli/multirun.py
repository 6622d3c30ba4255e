"""The jobs of a `--multirun`: how each ended, and a table of all at the end.

Jobs may run in other processes and on other machines, so each leaves a record in the folder of the
multirun; its scores are read from its run folder.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from hydra.types import RunMode
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nn.errors import Diverged, Mistake
from nn.io.files import write_whole
from nn.io.paths import short
from nn.runs.reader import read_json
from nn.runs.signals import SIGNALS, ParentInterrupts

RECORDS = ".jobs"
MAX_ROWS = 20
"""Jobs in the table, the best ones, and as many of those that have failed."""
UNLIMITED = 1000
"""Columns of an output that is not a terminal."""


@dataclass(frozen=True)
class Job:
    """A job that has ended."""

    number: int
    overrides: dict[str, str]
    folder: Path | None
    status: str
    reason: str
    summary: dict[str, Any]

    @property
    def order(self) -> tuple[bool, float, float]:
        """Finished jobs first, the best by validation before the others."""
        accuracy, loss = self.summary.get("val/accuracy"), self.summary.get("val/loss")
        return (
            self.status != "finished",
            -accuracy if isinstance(accuracy, float) else 1.0,
            loss if isinstance(loss, float) else 0.0,
        )


@dataclass(frozen=True)
class Multirun:
    """A multirun: its folder, and the overrides of each of its jobs."""

    folder: Path
    overrides: Sequence[Sequence[str]]

    def jobs(self) -> list[Job]:
        """Read how the jobs have ended, in the order of their numbers."""
        words = [[word.partition("=")[::2] for word in each] for each in self.overrides]
        columns = [len(set(column)) > 1 for column in zip(*words, strict=True)]
        return [
            self._job(
                number, dict(word for word, varies in zip(each, columns, strict=True) if varies)
            )
            for number, each in enumerate(words)
        ]

    def _job(self, number: int, overrides: dict[str, str]) -> Job:
        record = read_json(self.folder / RECORDS, f"{number}.json")
        if record.keys() != {"folder", "status", "reason"}:
            reason = "it did not start, or its process ended before it was done"
            return Job(number, overrides, None, "failed", reason, {})
        folder, summary = Path(record["folder"]), {}
        with suppress(Mistake):  # a summary that is damaged
            summary = read_json(folder, "summary.json")
        return Job(number, overrides, folder, record["status"], record["reason"], summary)


_started: Multirun | None = None


def reset() -> None:
    """Forget a multirun that this process has started before, as in a notebook."""
    global _started
    _started = None


def begin(folder: Path, overrides: Sequence[Sequence[str]]) -> None:
    """Remember the jobs that Hydra is about to start, and end their processes with this one."""
    global _started
    _started = Multirun(folder.absolute(), overrides)
    shutil.rmtree(folder / RECORDS, ignore_errors=True)
    if threading.current_thread() is threading.main_thread():
        interrupts = ParentInterrupts()
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, interrupts.strike)


def has_begun() -> bool:
    """Whether this process has started a multirun."""
    return _started is not None


def record(job: HydraConf, error: Exception | None) -> None:
    """Write down how a job has ended, for the process that waits for all of them."""
    if job.mode != RunMode.MULTIRUN:
        return
    status = "diverged" if isinstance(error, Diverged) else "failed" if error else "finished"
    reason = " ".join(f"{error}".split()) or type(error).__name__ if error else ""
    content = {"folder": job.runtime.output_dir, "status": status, "reason": reason}
    # a job may have changed into its own folder
    records = Path(job.runtime.cwd) / job.sweep.dir / RECORDS
    with suppress(OSError):  # without a record a job counts as failed
        records.mkdir(parents=True, exist_ok=True)
        write_whole(records / f"{job.job.num}.json", json.dumps(content).encode())


def summarize() -> int:
    """Print the jobs, the best first, and give the exit status of the multirun."""
    assert _started is not None
    jobs = sorted(_started.jobs(), key=lambda job: job.order)
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = UNLIMITED
    table = Table(box=None, pad_edge=False)
    for title in ("job", *jobs[0].overrides, "status", "val accuracy", "test accuracy", "folder"):
        table.add_column(title, justify="left" if title in ("status", "folder") else "right")
    failed = [job for job in jobs if job.status != "finished"]
    finished = [job for job in jobs if job.status == "finished"]
    for job in (*finished[:MAX_ROWS], *failed[:MAX_ROWS]):
        scores = (_score(job.summary.get(f"{part}/accuracy")) for part in ("val", "test"))
        folder = short(job.folder) if job.folder else ""
        cells = (str(job.number), *job.overrides.values(), job.status, *scores, folder)
        table.add_row(*map(Text, cells))
    console.print()
    console.print(table)
    for job in failed[:MAX_ROWS]:
        console.print(Text(f"Job {job.number} {job.status}: {job.reason}"))
    console.print(
        f"\nJobs: {len(jobs)}, {len(finished)} finished, in {short(_started.folder)}", markup=False
    )
    if any(job.status == "failed" for job in jobs):
        return 1
    return 3 if failed else 0


def _score(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else ""
