"""Run folders become runs in Weights & Biases, whatever was or was not sent when they ran."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nn.errors import Mistake, NotSaved
from nn.io.files import locked
from nn.tracking.wandb_logger import Mirror
from nn.io.paths import short
from nn.runs.reader import Saved, runs_in
from nn.tracking.settings import Tracking, require_credentials


def upload(folders: list[Path]) -> int:
    """Upload all runs in some folders, and say where each is; give the exit status."""
    runs = []
    for folder in folders:
        if not folder.is_dir():
            raise Mistake(f"{folder}: there is no such folder.")
        found = runs_in(folder)
        if not found:
            raise Mistake(f"{folder}: there is no run in this folder.")
        runs += found
    for run in runs:
        _check(run)
    require_credentials("upload.py")
    status = 0
    for run in runs:
        try:
            print(f"{short(run)}: {_upload(run)}", flush=True)
        except (Mistake, NotSaved) as error:  # a mistake only now: the run was changed meanwhile
            print(f"{short(run)}: {error}", flush=True)
            status = 1
    return status


def _check(run: Path) -> None:
    """Refuse a run that cannot be uploaded, before anything of any run is."""
    with _held(run):
        saved = Saved.read(run)
        _tracking(saved)
        _ = saved.predictions


def _upload(run: Path) -> str:
    """Upload one run, in which nobody may be training meanwhile."""
    with _held(run):
        saved = Saved.read(run)
        try:
            with _apart(), TemporaryDirectory() as aside:
                mirror = Mirror(
                    _tracking(saved), run, saved.config, saved.environment, saved.class_names
                )
                return mirror.copy(saved.history, saved.summary, saved.predictions, Path(aside))
        except Mistake:
            raise
        except Exception as error:
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise NotSaved(f"W&B did not take all of it, so upload it again: {reason}") from None


@contextmanager
def _held(run: Path) -> Iterator[None]:
    """Keep others from training in a folder; where there is no lock to take, nobody is."""
    with ExitStack() as stack:
        if os.access(run / ".lock", os.W_OK):
            try:
                stack.enter_context(locked(run / ".lock"))
            except OSError as error:
                reason = error.strerror
                raise Mistake(f"{short(run / '.lock')} cannot be opened: {reason}.") from None
        yield


def _tracking(saved: Saved) -> Tracking:
    """Read where a run belongs; it is going there now, wherever it was kept before."""
    given = saved.config.get("tracking")
    known = Tracking.__annotations__
    try:
        kept = {key: value for key, value in dict(given or {}).items() if key in known}
        return Tracking(**(kept | {"mode": "online"}))
    except (TypeError, ValueError) as error:
        raise Mistake(f"{saved.path}/config.yaml: tracking is damaged: {error}") from None


@contextmanager
def _apart() -> Iterator[None]:
    """Let nothing that one run sets in the environment reach the next."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
