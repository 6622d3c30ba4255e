"""The runs and sweeps below a directory as plain JSON."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, TypedDict

from nn.errors import UserError
from nn.io.coerce import drop_none, to_finite_float, to_text
from nn.io.files import SETTLING_SECONDS, FileStamp
from nn.io.paths import relpath
from nn.io.serialization import JsonObject
from nn.report.data.comparison import ComparisonReader, flat_settings
from nn.report.data.run import RunReader, thin_curves
from nn.report.data.sweep import SweepReader
from nn.report.data.wandb_run import WandbRunReader
from nn.report.paths import strip_folder
from nn.runs.history import minmax_downsample
from nn.runs.reader import modified_timestamp

CURVE_POINTS = 60
"""Points of an entry's curve after downsampling."""
OVERLAY_POINTS = 120
"""Points of each of a run's curves after downsampling."""
METRICS = ("val/accuracy", "val/loss", "train/loss")
"""Metrics whose curves are compared."""
SCORE_PATTERN = re.compile("acc|loss", re.IGNORECASE)
"""Names of metrics that are preferred as the curve of a run of another program."""
ROTATION = 4
"""Updates over which looking at directories that hardly ever change is spread."""

Reader: TypeAlias = RunReader | SweepReader | WandbRunReader


class IndexEntry(TypedDict):
    """A run, or a sweep with the settings and scores of its best trial."""

    path: str
    """Relative to the directory of the index."""
    kind: Literal["run", "sweep", "wandb"]
    name: str | None
    tags: list[str]
    group: str | None
    """Of a W&B run, its project."""
    status: str
    dataset: str | None
    settings: JsonObject
    scores: dict[str, float]
    """Of a W&B run, the numbers in its summary."""
    metric: str | None
    """Of a sweep; `scores` has its best value. Of a W&B run, that of the curve."""
    num_trials: int | None
    num_epochs: int
    """Of a sweep, over all trials; of a W&B run, history records."""
    curve: list[float | None]
    """Validation accuracy by epoch, or the best value so far by trial of a sweep."""
    curves: dict[str, list[float | None]]
    """Of a run: epoch, seconds, samples and metrics at the same epochs, downsampled."""
    seconds: float | None
    started_at: float
    command: str | None
    """Repeats the run, or the best trial."""


class _Listing(NamedTuple):
    """Contents of a directory when it was last scanned."""

    mtime_ns: int
    reader_class: type[Reader] | None
    subdirectories: list[Path]


class IndexReader:
    """Finds the runs and sweeps below a directory, and with each update reads what is new.

    Args:
        max_seconds: Time after which an update leaves further new directories to the next one.
    """

    def __init__(self, directory: Path, max_seconds: float = math.inf) -> None:
        self.directory, self._max_seconds = directory, max_seconds
        self.num_pending = 0
        """Number of directories that are left to the next update."""
        self._readers: dict[Path, Reader] = {}
        self._errors: dict[Path, str] = {}
        self._entries: dict[Path, IndexEntry] = {}
        self._listings: dict[Path, _Listing] = {}
        # modification times of the directories of runs; None where files may still be appended to
        self._ended: dict[Path, int | None] = {}
        self._num_updates = 0
        self.update()

    def update(self) -> bool:
        """Read what is new and return whether anything has changed.

        Raises:
            UserError: The directory cannot be read.
        """
        self._num_updates += 1
        is_idle = not self.is_running  # so that updates are rare
        deadline = time.monotonic() + self._max_seconds
        previous_errors, self._errors = self._errors, {}
        found: set[Path] = set()
        has_changed, num_read, self.num_pending = False, 0, 0
        for position, (path, reader_class) in enumerate(self._find_readable()):
            found.add(path)
            is_next = (position + self._num_updates) % ROTATION == 0
            if path in previous_errors and not is_next:
                self._errors[path] = previous_errors[path]
            elif path in self._ended and not (
                (is_next or is_idle) and _mtime_ns(path) != self._ended[path]
            ):
                pass
            elif path in self._readers or not num_read or time.monotonic() < deadline:
                num_read += path not in self._readers
                has_changed |= self._update_entry(path, reader_class)
            else:
                self.num_pending += 1
        removed = self._entries.keys() - (found - self._errors.keys())
        for path in removed:
            for known in (self._entries, self._readers, self._ended):
                known.pop(path, None)
        return has_changed or bool(removed) or self._errors != previous_errors

    @property
    def entries(self) -> list[IndexEntry]:
        """All entries, newest first."""
        return sorted(self._entries.values(), key=lambda entry: -entry["started_at"])

    @property
    def is_running(self) -> bool:
        """Whether anything is running or has not been read yet."""
        is_any_running = any(each["status"] == "running" for each in self._entries.values())
        return is_any_running or self.num_pending > 0

    @property
    def errors(self) -> list[str]:
        """Why directories cannot be read, one sentence for each of them."""
        return list(self._errors.values())

    @property
    def runs(self) -> list[RunReader]:
        """The readers of the runs that are neither trials nor those of other programs."""
        readers = (self._readers[self.directory / entry["path"]] for entry in self.entries)
        return [reader for reader in readers if isinstance(reader, RunReader)]

    def _find_readable(self) -> Iterator[tuple[Path, type[Reader]]]:
        """Walk the directory without descending into runs, sweeps, hidden and linked ones."""
        pending = [self.directory]
        listings, self._listings = self._listings, {}
        while pending:
            path = pending.pop()
            listing = listings.get(path)
            try:
                if listing is None or path not in self._readers:
                    mtime_ns = path.stat().st_mtime_ns
                    if listing is None or listing.mtime_ns != mtime_ns:
                        listing = _list_directory(path, mtime_ns)
            except OSError as error:
                message = f"{relpath(path)} cannot be read: {error.strerror}."
                if path == self.directory:
                    raise UserError(message) from None
                self._errors[path] = strip_folder(message, self.directory)
                continue
            self._listings[path] = listing
            if listing.reader_class:
                yield path, listing.reader_class
            else:
                pending += listing.subdirectories

    def _update_entry(self, path: Path, reader_class: type[Reader]) -> bool:
        """Read what is new in a run or a sweep and return whether its entry has changed."""
        mtime_ns, reader = _mtime_ns(path), self._readers.get(path)
        try:
            has_changed = reader is None or reader.update()
            self._readers[path] = reader = reader or reader_class(path)
        except UserError as error:
            for known in (self._readers, self._listings, self._ended):
                known.pop(path, None)
            self._errors[path] = strip_folder(str(error), self.directory)
            return False
        if has_changed and isinstance(reader, SweepReader):
            self._entries[path] = self._sweep_entry(reader)
        elif has_changed and isinstance(reader, RunReader):
            self._entries[path] = self._run_entry(reader)
        elif has_changed and isinstance(reader, WandbRunReader):
            self._entries[path] = self._wandb_entry(reader)
        self._ended.pop(path, None)
        if self._entries[path]["status"] not in ("running", "stale"):
            has_result = isinstance(reader, RunReader) and bool(reader.summary)
            self._ended[path] = mtime_ns if has_result else None
        return has_changed

    def _run_entry(self, run: RunReader) -> IndexEntry:
        record, column = run.record(), run.metrics.column
        curve = column("val/accuracy")
        axes, metrics = thin_curves(run.curves(), METRICS, OVERLAY_POINTS)
        return {
            "path": str(run.path.relative_to(self.directory)),
            "kind": "run",
            "name": record["name"],
            "tags": record["tags"],
            "group": record["group"],
            "status": record["status"],
            "dataset": to_text(record["choices"].get("dataset")),
            "settings": flat_settings(record),
            "scores": record["scores"],
            "metric": None,
            "num_trials": None,
            "num_epochs": record["num_epochs"],
            "curve": _downsample(curve if drop_none(curve) else column("train/accuracy")),
            "curves": {
                key: [_round(value) for value in values]
                for columns in (axes, metrics)
                for key, values in columns.items()
            },
            "seconds": record["training_seconds"],
            "started_at": record["started_at"] or modified_timestamp(run.path, "config.yaml"),
            "command": record["reproduce_command"],
        }

    def _sweep_entry(self, sweep: SweepReader) -> IndexEntry:
        record, points = sweep.record(), sweep.point_records()
        best = next((point for point in points if point["rank"] == 1), None)
        settings = sweep.best_settings()
        scores: dict[str, float | None] = {}
        if best is not None:
            settings.update(best["params"])
            scores = {**best["scores"], record["metric"]: best["value"]}
        sign = sweep.metric.minimization_sign
        objectives = [sign * point["value"] for point in points if point["value"] is not None]
        return {
            "path": str(sweep.path.relative_to(self.directory)),
            "kind": "sweep",
            "name": record["name"],
            "tags": [],
            "group": None,
            "status": record["status"],
            "dataset": to_text(settings.get("dataset")),
            "settings": settings,
            "scores": {key: value for key, value in scores.items() if value is not None},
            "metric": record["metric"],
            "num_trials": record["num_trials"],
            "num_epochs": sum(trial["num_epochs"] for trial in sweep.trial_records()),
            "curve": _downsample([sign * value for value in accumulate(objectives, min)]),
            "curves": {},
            "seconds": record["running_seconds"],
            "started_at": record["started_at"],
            "command": "\n".join(sweep.reproduce_commands()) or None,
        }

    def _wandb_entry(self, run: WandbRunReader) -> IndexEntry:
        record = run.record()
        scores = {key: to_finite_float(value) for key, value in record["summary"].items()}
        # the first that is a score, or else the first
        metrics = sorted(record["metrics"], key=lambda m: not SCORE_PATTERN.search(m["name"]))
        metric = metrics[0] if metrics else None
        return {
            "path": str(run.path.relative_to(self.directory)),
            "kind": "wandb",
            "name": record["name"] or None,
            "tags": record["tags"],
            "group": record["project"] or None,
            "status": record["status"],
            "dataset": None,
            "settings": record["config"],
            "scores": {key: score for key, score in scores.items() if score is not None},
            "metric": metric and metric["name"],
            "num_trials": None,
            "num_epochs": record["num_records"],
            "curve": _downsample(metric["y"]) if metric else [],
            "curves": {},
            "seconds": record["seconds"],
            "started_at": record["started_at"] or record["updated_at"],
            "command": None,
        }


PageReader: TypeAlias = Reader | ComparisonReader | IndexReader
"""The data of a page."""


def open_reader(folders: Sequence[Path], max_seconds: float = math.inf) -> PageReader:
    """Open the data of a directory, or of a comparison of several runs.

    Args:
        max_seconds: As of an `IndexReader`.
    """
    if len(folders) > 1:
        return ComparisonReader([RunReader(folder) for folder in folders])
    reader_class = get_reader_class(folders[0])
    return reader_class(folders[0]) if reader_class else IndexReader(folders[0], max_seconds)


def get_reader_class(path: Path) -> type[Reader] | None:
    """Return the class that reads a directory; None if it is not that of a run or sweep."""
    try:
        return _list_directory(path, 0).reader_class
    except OSError:
        return None


def _mtime_ns(path: Path) -> int | None:
    stamp = FileStamp.of(path)
    return stamp.mtime_ns if stamp else None


def _list_directory(path: Path, mtime_ns: int) -> _Listing:
    if time.time() - mtime_ns / 1e9 < SETTLING_SECONDS:
        mtime_ns = 0  # it is listed again
    with os.scandir(path) as entries:
        by_name = {entry.name: entry for entry in entries}
    if "sweep.yaml" in by_name:
        return _Listing(mtime_ns, SweepReader, [])
    if "config.yaml" in by_name:
        return _Listing(mtime_ns, RunReader, [])
    if any(name.startswith("run-") and name.endswith(".wandb") for name in by_name):
        return _Listing(mtime_ns, WandbRunReader, [])
    names = (
        name
        for name, entry in by_name.items()
        if entry.is_dir(follow_symlinks=False) and not name.startswith(".")
    )
    return _Listing(mtime_ns, None, [path / name for name in sorted(names, reverse=True)])


def _round(value: float | None) -> float | None:
    """Round to five significant digits, which is what a chart can show."""
    return None if value is None else float(f"{value:.5g}")


def _downsample(curve: Sequence[float | None]) -> list[float | None]:
    return [curve[index] for index in minmax_downsample([curve], CURVE_POINTS)]
