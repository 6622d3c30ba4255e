"""A run that any program has logged to W&B on this machine, as plain JSON."""

from __future__ import annotations

import io
import time
import warnings
from itertools import groupby
from pathlib import Path
from typing import TypedDict

import numpy as np

from nn.errors import UserError
from nn.io.files import read_regular_file
from nn.report.data.images import to_data_uri
from nn.report.paths import display_path
from nn.tracking.wandb_log import find_log
from nn.tracking.wandb_record import WandbImage, WandbLogRecord, read_log

MAX_IMAGES_PER_KEY, MAX_IMAGES_SHOWN = 24, 120
"""Thumbnails in the details."""
MAX_SIDE_PIXELS = 192
"""Longer side of a thumbnail."""
MAX_IMAGE_BYTES = 2**25
MAX_IMAGE_PIXELS = 2**24
PIL_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
STALE_SECONDS = 600
"""Age of the last record at which a run without an end counts as crashed, as in wandb leet."""
READ_INTERVAL = 10
"""A log that grows is read again after this many times the seconds that reading it took."""


class WandbRunRecord(WandbLogRecord):
    """A run without its thumbnails."""

    path: str
    title: str
    status: str
    """Finished, failed, running or crashed."""


class WandbImageGroup(TypedDict):
    """The latest images of a key, as pairs of caption and data URI; None if not available."""

    key: str
    step: int
    images: list[tuple[str, str | None]]


class WandbRunDetails(TypedDict):
    """The slow part of a W&B run: its images."""

    images: list[WandbImageGroup]


class WandbRunReader:
    """Reads the directory of a W&B run, whose log is read again when it has grown.

    Raises:
        UserError: The directory has no log, or W&B's client cannot read it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log_stamp = -1, -1
        self._next_reading = 0.0
        self._status = ""
        self.update()

    def update(self) -> bool:
        """Read the log if it has changed and return whether anything has changed.

        Raises:
            UserError: The directory has no log any more, or W&B's client cannot read it.
        """
        log, status = find_log(self.path)
        stamp, start = (status.st_size, status.st_mtime_ns), time.monotonic()
        has_changed = stamp != self._log_stamp and start >= self._next_reading
        if has_changed:
            self._record = read_log(log, *stamp)
            self._log_stamp = stamp
            end = time.monotonic()
            self._next_reading = end + READ_INTERVAL * (end - start)
        previous_status, self._status = self._status, self._current_status(status.st_mtime)
        return has_changed or self._status != previous_status

    @property
    def is_running(self) -> bool:
        """Whether its log may still grow."""
        return self._status == "running"

    def record(self) -> WandbRunRecord:
        """Return the run without thumbnails."""
        return {
            **self._record,
            "path": display_path(self.path),
            "title": self._record["name"] or self._record["run_id"] or self.path.name,
            "status": self._status,
        }

    def details(self) -> WandbRunDetails:
        """Return thumbnails of the latest images of each key."""
        groups: list[WandbImageGroup] = []
        num_free = MAX_IMAGES_SHOWN
        by_key = sorted(self._record["images"], key=lambda image: image["key"])
        for key, images in groupby(by_key, key=lambda image: image["key"]):
            logged = list(images)
            latest = [image for image in logged if image["step"] == logged[-1]["step"]]
            latest = latest[: min(MAX_IMAGES_PER_KEY, num_free)]
            num_free -= len(latest)
            if latest:
                thumbnails = [(i["caption"], _read_thumbnail(self.path, i)) for i in latest]
                groups.append({"key": key, "step": latest[-1]["step"], "images": thumbnails})
        return {"images": groups}

    def _current_status(self, modified: float) -> str:
        if self._record["exit_code"] is not None:
            return "failed" if self._record["exit_code"] else "finished"
        return "running" if time.time() - modified < STALE_SECONDS else "crashed"


def _read_thumbnail(run_dir: Path, image: WandbImage) -> str | None:
    """Read a reduced image as a data URI; None if it is missing, damaged or too large."""
    from PIL import Image

    try:
        content = read_regular_file(run_dir / "files", image["path"], MAX_IMAGE_BYTES)
    except (FileNotFoundError, UserError, ValueError):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=PIL_FORMATS) as picture:
                if picture.width * picture.height > MAX_IMAGE_PIXELS:
                    return None
                picture.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
                return to_data_uri(np.asarray(picture.convert("RGBA")))
        except Exception:  # a damaged image can raise anything in its decoder
            return None
