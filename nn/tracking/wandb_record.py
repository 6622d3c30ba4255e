"""What any program has logged to W&B on this machine, from its log, as JSON within limits."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import deque
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import JsonValue, TypeAdapter
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from nn.data.cache import cache_dir
from nn.errors import UserError, truncate
from nn.io.coerce import flatten_settings, parse_time, to_finite_float, to_list, to_mapping
from nn.io.files import atomic_write, read_regular_file
from nn.io.serialization import JsonObject, to_json
from nn.tracking.wandb_log import read_records

MAX_METRICS = 300
MAX_POINTS = 1000
"""Points of a metric's curve; it is downsampled when it has four times as many."""
MAX_SETTINGS = 5000
"""Keys of the config, of the summary and of the environment."""
MAX_IMAGES = 500
"""Images of a run; the latest are kept."""
MAX_NAME_LENGTH = 300
MAX_VALUE_LENGTH = 1000
"""Characters of a value's JSON; a longer one is replaced by its beginning."""
MAX_RECORD_BYTES, MAX_CACHE_BYTES = 2**26, 2**29
CACHE_VERSION = 4
NONFINITE_TEXTS = ("NaN", "Infinity", "-Infinity")
PRIVATE_KEYS = ("email", "username", "root", "executable", "writer_id")
"""Keys of the environment that are not read."""


class WandbMetric(TypedDict):
    """A metric over the x axis that the program has chosen, or else over the step."""

    name: str
    x_metric: str
    x: list[float]
    y: list[float | None]
    """None where it is not finite."""


class WandbImage(TypedDict):
    """A logged image; its path is relative to the run's `files` directory."""

    key: str
    step: int
    path: str
    caption: str


class WandbLogRecord(TypedDict):
    """A run as its log describes it; config, summary and environment have dotted keys."""

    name: str
    run_id: str
    project: str
    notes: str
    tags: list[str]
    exit_code: int | None
    started_at: float | None
    seconds: float | None
    """From the start to the last history record."""
    log_bytes: int
    updated_at: float
    num_records: int
    """Of the history."""
    last_step: int | None
    metrics: list[WandbMetric]
    config: JsonObject
    summary: JsonObject
    environment: JsonObject
    images: list[WandbImage]
    is_damaged: bool
    is_incomplete: bool
    """Whether it has more metrics or settings than are kept."""


_ADAPTER = TypeAdapter(WandbLogRecord)


def read_log(log: Path, num_bytes: int, mtime_ns: int) -> WandbLogRecord:
    """Read a log, or the user's cache if that has it with this size and modification time.

    Raises:
        UserError: W&B's client cannot read it.
    """
    key = f"{CACHE_VERSION} {log.resolve()}".encode("utf-8", "surrogateescape")
    cache_file = cache_dir("wandb-runs") / f"{hashlib.sha256(key).hexdigest()}.json"
    with suppress(FileNotFoundError, UserError, ValueError):
        content = read_regular_file(cache_file.parent, cache_file.name, MAX_RECORD_BYTES)
        record = _ADAPTER.validate_json(content)
        if (record["log_bytes"], record["updated_at"]) == (num_bytes, mtime_ns / 1e9):
            return record
    builder = _RecordBuilder()
    for item in read_records(log):
        builder.add(item)
    record = builder.build(num_bytes, mtime_ns)
    with suppress(OSError, ValueError):  # ValueError: a name that is not valid UTF-8
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(cache_file, _ADAPTER.dump_json(record), durable=False)
        entries = [(entry.stat(), entry) for entry in cache_file.parent.glob("*.json")]
        cached_bytes = 0
        for status, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime_ns):
            cached_bytes += status.st_size
            if cached_bytes > MAX_CACHE_BYTES:  # the oldest are removed
                entry.unlink(missing_ok=True)
    return record


class _MetricBuilder:
    """Collects a metric's values, and downsamples them when there are too many."""

    def __init__(self) -> None:
        self._steps, self._x, self._y = array("d"), array("d"), array("d")

    def append(self, step: float, x: float | None, y: float | None) -> None:
        """Append a value with its step and its position on the chosen x axis, if there is one."""
        self._steps.append(step)
        self._x.append(math.nan if x is None else x)
        self._y.append(math.nan if y is None else y)
        if len(self._y) >= 4 * MAX_POINTS:
            self._downsample()

    def _downsample(self) -> None:
        """Keep the minimum and the maximum in equal ranges of steps, however often it is called."""
        if len(self._y) <= MAX_POINTS:
            return
        steps, y = np.array(self._steps), np.array(self._y)
        finite = np.flatnonzero(np.isfinite(y))
        edges = np.linspace(steps.min(), steps.max(), MAX_POINTS // 2 - 1)
        ranges = np.digitize(steps[finite], edges)
        order = np.lexsort((y[finite], ranges))
        is_end = np.diff(ranges[order], prepend=-1, append=-1) != 0
        extrema = finite[order[is_end[:-1] | is_end[1:]]]
        kept = np.unique([0, *extrema, len(y) - 1])
        self._steps, self._x, self._y = (
            array("d", np.array(values)[kept]) for values in (self._steps, self._x, self._y)
        )

    def build(self, name: str, x_metric: str) -> WandbMetric | None:
        """Return the curve; None if no value is finite."""
        self._downsample()
        points = [(x, y) for x, y in zip(self._x, self._y, strict=True) if math.isfinite(x)]
        if not any(math.isfinite(y) for _, y in points):
            x_metric, points = "_step", list(zip(self._steps, self._y, strict=True))
        points.sort(key=lambda point: point[0])
        if not any(math.isfinite(y) for _, y in points):
            return None
        y = [value if math.isfinite(value) else None for _, value in points]
        return {"name": name, "x_metric": x_metric, "x": [x for x, _ in points], "y": y}


class _RecordBuilder:
    """Collects the records of a log, within the limits above."""

    def __init__(self) -> None:
        self._run: JsonObject = {}
        self._config: JsonObject = {}
        self._summary: JsonObject = {}
        self._environment: JsonObject = {}
        self._metrics: dict[str, _MetricBuilder] = {}
        self._x_metrics: dict[str, str] = {}  # by name, or by prefix and *
        self._images: deque[WandbImage] = deque(maxlen=MAX_IMAGES)
        self._num_records, self._last_step = 0, -1
        self._seconds = -math.inf
        self._exit_code: int | None = None
        self._is_damaged = self._is_incomplete = False

    def add(self, record: JsonObject | None) -> None:
        """Add a record; None and one that is nested too deeply count as damage."""
        if record is None:
            self._is_damaged = True
            return
        record_type = str(record.get("type"))
        content = to_mapping(record.get(record_type))
        try:
            match record_type:
                case "run":
                    self._run = content
                    self._update(self._config, to_mapping(content.get("config")))
                case "config":
                    self._update(self._config, content)
                case "summary":
                    self._update(self._summary, content)
                case "environment":
                    known = {k: v for k, v in content.items() if k not in PRIVATE_KEYS}
                    self._update(self._environment, {"update": known})
                case "history":
                    self._add_history(content)
                case "metric":
                    name = _to_text(content.get("name") or content.get("glob_name"))
                    x_metric = _to_text(content.get("step_metric"))
                    if name and x_metric and len(self._x_metrics) < MAX_METRICS:
                        self._x_metrics[name] = x_metric
                case "exit":
                    code = content.get("exit_code", 0)
                    self._exit_code = code if type(code) is int else 1
        except RecursionError:
            self._is_damaged = True

    def build(self, log_bytes: int, mtime_ns: int) -> WandbLogRecord:
        """Return the run that the records describe."""
        media = _media_keys(self._summary)
        x_metrics = {*self._x_metrics.values()}
        curves = (
            metric.build(key, self._x_metric(key))
            for key, metric in sorted(self._metrics.items())
            if key not in x_metrics
        )
        return {
            "name": _to_text(self._run.get("display_name")),
            "run_id": _to_text(self._run.get("run_id")),
            "project": _to_text(self._run.get("project")),
            "notes": _to_text(self._run.get("notes")),
            "tags": [_to_text(tag) for tag in to_list(self._run.get("tags"))[:50]],
            "exit_code": self._exit_code,
            "started_at": parse_time(self._run.get("start_time")),
            "seconds": self._seconds if math.isfinite(self._seconds) else None,
            "log_bytes": log_bytes,
            "updated_at": mtime_ns / 1e9,
            "num_records": self._num_records,
            "last_step": self._last_step if self._num_records else None,
            "metrics": [curve for curve in curves if curve is not None],
            "config": self._config,
            "summary": {k: v for k, v in self._summary.items() if not _is_below(k, media)},
            "environment": self._environment,
            "images": list(self._images),
            "is_damaged": self._is_damaged,
            "is_incomplete": self._is_incomplete,
        }

    def _update(self, target: JsonObject, changes: JsonObject) -> None:
        """Apply the updates and removals of a config or summary record."""
        for key, value in flatten_settings(to_mapping(changes.get("update"))).items():
            if key.startswith("_"):
                continue
            is_full = key not in target and len(target) >= MAX_SETTINGS
            if is_full or len(key) > MAX_NAME_LENGTH:
                self._is_incomplete = True
            else:
                target[key] = _limit_size(value)
        for item in map(to_mapping, to_list(changes.get("remove"))):
            levels = item.get("nested_key")
            key = ".".join(map(str, levels)) if isinstance(levels, list) else str(item.get("key"))
            target.pop(key, None)

    def _add_history(self, content: JsonObject) -> None:
        items = to_mapping(content.get("item"))
        if any(isinstance(value, dict) for value in items.values()):
            items = flatten_settings(items)
        step = to_mapping(content.get("step")).get("num", items.get("_step"))
        if type(step) is not int or not 0 <= step < 2**53:
            self._is_damaged = True
            return
        self._num_records += 1
        self._last_step = max(step, self._last_step)
        self._seconds = max(self._seconds, to_finite_float(items.get("_runtime")) or -math.inf)
        media = _media_keys(items)
        for key in sorted(media):
            self._add_images(key, step, items)
        for key, value in items.items():
            number = to_finite_float(value)
            is_number = number is not None or (isinstance(value, str) and value in NONFINITE_TEXTS)
            if not is_number or key.startswith("_"):
                continue
            metric = self._metrics.get(key) or self._new_metric(key, media)
            if metric:
                x_metric = self._x_metric(key)
                x = step if x_metric == "_step" else to_finite_float(items.get(x_metric))
                metric.append(step, x, number)

    def _new_metric(self, key: str, media: set[str]) -> _MetricBuilder | None:
        """Return a new metric unless the key is a field of media, or there are too many."""
        if _is_below(key, media):
            return None
        if len(key) > MAX_NAME_LENGTH or len(self._metrics) >= MAX_METRICS:
            self._is_incomplete = True
            return None
        return self._metrics.setdefault(key, _MetricBuilder())

    def _x_metric(self, key: str) -> str:
        """Return the x axis that the program has chosen for a metric."""
        for name, x_metric in self._x_metrics.items():
            if key.startswith(name[:-1]) if name.endswith("*") else key == name:
                return x_metric
        return "_step"

    def _add_images(self, key: str, step: int, items: JsonObject) -> None:
        """Add the images of an `image-file` or `images/separated` value, whose fields are items."""
        paths, captions = items.get(f"{key}.filenames"), items.get(f"{key}.captions")
        if items[f"{key}._type"] == "image-file":
            paths, captions = [items.get(f"{key}.path")], [items.get(f"{key}.caption")]
        if not isinstance(paths, list):
            return
        for path, caption in zip_longest(paths, to_list(captions)[: len(paths)]):
            if isinstance(path, str) and _is_media_path(path):
                name = truncate(key, MAX_NAME_LENGTH)
                self._images.append(
                    {"key": name, "step": step, "path": path, "caption": _to_text(caption)}
                )


def _media_keys(items: JsonObject) -> set[str]:
    """Return the keys below which the fields of an image, a table or the like are stored."""
    return {key.removesuffix("._type") for key in items if key.endswith("._type")}


def _is_below(key: str, ancestors: set[str]) -> bool:
    """Whether a dotted key lies below one of others."""
    levels = key.split(".") if ancestors else []
    return any(".".join(levels[:depth]) in ancestors for depth in range(1, len(levels)))


def _is_media_path(path: str) -> bool:
    """Whether a path stays below a run's files/media."""
    parts = PurePosixPath(path).parts
    return len(path) <= MAX_VALUE_LENGTH and parts[:1] == ("media",) and ".." not in parts


def _to_text(value: JsonValue) -> str:
    return truncate(value, MAX_VALUE_LENGTH) if isinstance(value, str) else ""


def _limit_size(value: JsonValue) -> JsonValue:
    if not isinstance(value, str | list):
        return value
    text = value if isinstance(value, str) else to_json(value)
    return value if len(text) <= MAX_VALUE_LENGTH else truncate(text, MAX_VALUE_LENGTH)
