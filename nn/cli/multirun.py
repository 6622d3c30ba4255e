"""The jobs of a `--multirun`: a record of how each ended, and a summary of all of them.

Jobs may run in other processes and on other machines, so each writes a record to the directory of
the multirun. Scores are read from the run directories.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hydra.conf import HydraConf
from hydra.types import RunMode
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nn.errors import DivergedError, UserError
from nn.io.files import atomic_write
from nn.io.paths import relpath
from nn.io.serialization import JsonObject
from nn.runs.reader import read_json
from nn.runs.signals import (
    HANDLED_SIGNALS,
    STOP_TIMEOUT_SECONDS,
    ParentSignalHandler,
    SignalInterrupt,
    exit_immediately,
    interruptible,
    is_child_process,
)

RECORDS_DIR = ".jobs"
MAX_TABLE_ROWS = 20
"""Maximum number of finished jobs in the table, and of failed ones."""
NON_TERMINAL_WIDTH = 1000
"""Width of output that is not a terminal, so that no row of the table is wrapped."""


@dataclass(frozen=True)
class JobResult:
    """How a job ended; `overrides` are those in which the jobs differ."""

    number: int
    overrides: dict[str, str]
    run_dir: Path | None
    status: str
    reason: str
    summary: JsonObject

    @property
    def sort_key(self) -> tuple[bool, float, float]:
        """Finished jobs first, ordered by validation accuracy, then by validation loss."""
        accuracy, loss = self.summary.get("val/accuracy"), self.summary.get("val/loss")
        return (
            self.status != "finished",
            -accuracy if isinstance(accuracy, float) else 1.0,
            loss if isinstance(loss, float) else 0.0,
        )


@dataclass(frozen=True)
class Multirun:
    """The directory of a multirun and the overrides of each job."""

    sweep_dir: Path
    job_overrides: Sequence[Sequence[str]]

    def read_results(self) -> list[JobResult]:
        """Read how the jobs ended, in the order of their numbers."""
        parsed_overrides = [
            [override.partition("=")[::2] for override in overrides]
            for overrides in self.job_overrides
        ]
        is_varied = [len(set(column)) > 1 for column in zip(*parsed_overrides, strict=True)]
        return [
            self._read_result(
                number,
                dict(pair for pair, varies in zip(pairs, is_varied, strict=True) if varies),
            )
            for number, pairs in enumerate(parsed_overrides)
        ]

    def _read_result(self, number: int, overrides: dict[str, str]) -> JobResult:
        record = self._read_record(number)
        if record.get("status") in (None, "running"):
            reason = "it did not start, or its process ended before it finished"
            return JobResult(number, overrides, None, "failed", reason, {})
        run_dir, summary = Path(str(record["folder"])), {}
        with suppress(UserError):  # the summary is unreadable
            summary = read_json(run_dir, "summary.json")
        status, reason = str(record["status"]), str(record["reason"])
        return JobResult(number, overrides, run_dir, status, reason, summary)

    def find_busy_pids(self) -> set[int]:
        """Return the process IDs of the jobs that are running."""
        records = map(self._read_record, range(len(self.job_overrides)))
        pids = [record["pid"] for record in records if record.get("status") == "running"]
        return {pid for pid in pids if isinstance(pid, int)}

    def _read_record(self, number: int) -> JsonObject:
        record = read_json(self.sweep_dir / RECORDS_DIR, f"{number}.json")
        return record if record.keys() == {"folder", "status", "reason", "pid"} else {}


_current_multirun: Multirun | None = None


def reset() -> None:
    """Forget an earlier multirun of this process, as in a notebook."""
    global _current_multirun
    _current_multirun = None


def register_jobs(sweep_dir: Path, job_overrides: Sequence[Sequence[str]]) -> None:
    """Remember the jobs that Hydra is about to start, and stop their processes with this one."""
    global _current_multirun
    _current_multirun = Multirun(sweep_dir.absolute(), job_overrides)
    shutil.rmtree(sweep_dir / RECORDS_DIR, ignore_errors=True)
    if threading.current_thread() is threading.main_thread():
        signal_handler = ParentSignalHandler(_current_multirun.find_busy_pids)
        for signum in HANDLED_SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, signal_handler.handle_signal)


def is_started() -> bool:
    """Whether this process has started a multirun."""
    return _current_multirun is not None


@contextmanager
def recorded_job(hydra_config: HydraConf) -> Iterator[None]:
    """Record how the job in this block ends, for the process that waits for all jobs.

    An interrupted job of a worker process does not return, since the worker would start the next
    one. It waits to be killed by its parent, as the executor would kill the other workers, which
    may still be writing, if this one ended.
    """
    if hydra_config.mode != RunMode.MULTIRUN:
        yield
        return
    if is_child_process():
        _ignore_signals_between_jobs()
    with interruptible() as signal_handler:
        _write_record(hydra_config, "running")
        try:
            yield
        except SignalInterrupt as interrupt:
            with signal_handler.defer_signals():
                _write_record(hydra_config, "interrupted")
                if is_child_process():
                    time.sleep(STOP_TIMEOUT_SECONDS)
                    exit_immediately(interrupt.signum)
            raise
        except Exception as error:
            status = "diverged" if isinstance(error, DivergedError) else "failed"
            reason = " ".join(f"{error}".split()) or type(error).__name__
            _write_record(hydra_config, status, reason)
            raise
        _write_record(hydra_config, "finished")


def _ignore_signals_between_jobs() -> None:
    for signum in HANDLED_SIGNALS:
        if signal.getsignal(signum) != signal.SIG_IGN:
            signal.signal(signum, lambda *_: None)


def _write_record(hydra_config: HydraConf, status: str, reason: str = "") -> None:
    job_record = {
        "folder": hydra_config.runtime.output_dir,
        "status": status,
        "reason": reason,
        "pid": os.getpid(),
    }
    # relative to the original working directory: a job may have changed into its own
    records_dir = Path(hydra_config.runtime.cwd) / hydra_config.sweep.dir / RECORDS_DIR
    with suppress(OSError):  # without a record a job counts as failed
        records_dir.mkdir(parents=True, exist_ok=True)
        atomic_write(records_dir / f"{hydra_config.job.num}.json", json.dumps(job_record).encode())


def print_summary() -> int:
    """Print the jobs, the best first, and return the exit status of the multirun."""
    assert _current_multirun is not None
    results = sorted(_current_multirun.read_results(), key=lambda job: job.sort_key)
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = NON_TERMINAL_WIDTH
    table = Table(box=None, pad_edge=False)
    for column in (
        "job",
        *results[0].overrides,
        "status",
        "val accuracy",
        "test accuracy",
        "directory",
    ):
        table.add_column(column, justify="left" if column in ("status", "directory") else "right")
    failed = [job for job in results if job.status != "finished"]
    finished = [job for job in results if job.status == "finished"]
    for job in (*finished[:MAX_TABLE_ROWS], *failed[:MAX_TABLE_ROWS]):
        scores = (_format_score(job.summary.get(f"{split}/accuracy")) for split in ("val", "test"))
        run_dir = relpath(job.run_dir) if job.run_dir else ""
        cells = (str(job.number), *job.overrides.values(), job.status, *scores, run_dir)
        table.add_row(*map(Text, cells))
    console.print()
    console.print(table)
    for job in failed[:MAX_TABLE_ROWS]:
        console.print(Text(f"Job {job.number} {job.status}: {job.reason}"))
    console.print(
        f"\nJobs: {len(results)}, {len(finished)} finished, "
        f"in {relpath(_current_multirun.sweep_dir)}",
        markup=False,
    )
    if any(job.status == "failed" for job in results):
        return 1
    return 3 if failed else 0


def _format_score(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else ""
