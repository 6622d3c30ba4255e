"""Log a run to Weights & Biases. No other file imports wandb.

Any failure of W&B costs at most one warning; the run continues.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from queue import SimpleQueue
from shutil import copyfile, rmtree
from tempfile import TemporaryDirectory
from threading import Event, Thread
from types import ModuleType
from typing import TYPE_CHECKING

from nn.config.schema import HYPERPARAMETERS, Config
from nn.errors import SaveError, UserError
from nn.io.coerce import to_mapping
from nn.io.command_line import format_command
from nn.io.files import read_regular_file
from nn.io.paths import TRIAL_FILE, checkpoint_path, relpath
from nn.io.records import Summary
from nn.io.serialization import JsonObject, parse_json
from nn.predictions import Predictions
from nn.tracking.media import (
    Table,
    classification_report,
    long_confusion_table,
    select_example_images,
    wide_confusion_table,
)
from nn.tracking.settings import Tracking, has_credentials
from nn.tracking.wandb_ids import WandbIds
from nn.training import HistoryRecord

if TYPE_CHECKING:
    import wandb
    from wandb import Image, Run
    from wandb.apis.public import Sweep
    from wandb.plot.custom_chart import CustomChart

GRACE_SECONDS = 1.0
"""After a signal, time for W&B to respond, and again for it to receive the end of the run."""
AGENT_GRACE_SECONDS = 5.0
"""The same if W&B or its agent has sent the signal, so that the server can be reached."""
WAIT_MESSAGE_DELAY_SECONDS = 3.0
"""How long to wait silently for W&B at the end of a run, before a message explains the wait."""
OFFLINE_FALLBACK_SECONDS = 20.0
"""Time to give up on W&B and start an offline run instead."""
UPLOAD_CONFIRMATION_SECONDS = 20.0
"""Time for W&B to show what has been uploaded."""
MAX_TRIAL_BYTES = 2**20
UPLOADED_FILES = {"config.yaml": "settings.yaml", "environment.json": "environment.json"}
"""Files of the run directory that are uploaded, with their names in W&B.

W&B writes a config.yaml of its own.
"""
WANDB_DIR = "wandb"
"""In a run directory, unless tracking is disabled; without a run if that is written later."""
OFFLINE_RUN_PATTERN = f"{WANDB_DIR}/offline-run-*"
"""Offline W&B runs in a run directory."""
UNFINISHED_STATUSES = ("interrupted", "paused")
"""Statuses of a session that a later one continues."""
KILLED_EXIT_CODE = 255
"""The exit code with which W&B shows a run as killed instead of failed."""


class WandbLogger:
    """Logs one run to W&B in a background thread, for which only `finish` waits."""

    def __init__(
        self,
        tracking: Tracking,
        run_dir: Path,
        config: Config,
        environment: Mapping[str, object],
        class_names: Sequence[str],
    ) -> None:
        self.tracking, self.mode, self.run_dir = tracking, tracking.resolved_mode, run_dir
        self.config, self.class_names = config, class_names
        self.ids = WandbIds.from_environment(environment)
        self._run: Run | None = None
        self._is_disabled = self._has_warned = False
        self._is_stop_requested = self._is_finishing = self._is_abandoned = False
        self._is_deferred = False
        self._init_deadline = 0.0
        self._init_done, self._sender_thread = Event(), Thread()
        self._call_queue: SimpleQueue[Callable[[Run], None] | None] = SimpleQueue()

    def init(
        self,
        restored_records: Iterable[HistoryRecord] = (),
        resume: bool = False,
        is_deferred: bool = False,
    ) -> None:
        """Start connecting to W&B in the background; if that fails, log to an offline run.

        Args:
            restored_records: The history of earlier sessions; W&B gets what it does not have.
            resume: Whether to continue a run that W&B may already have.
            is_deferred: Whether to start an offline run only when the run has ended, since one that
                a later session continues cannot be resumed.
        """
        self._is_disabled = self.mode == "disabled"
        if self._is_disabled:
            return
        self._call_queue.put(lambda run: self._send_missing_records(run, restored_records))
        self._is_deferred = is_deferred and self.mode == "offline"
        if self._is_deferred:
            self._remove_offline_runs()
            with suppress(OSError):
                (self.run_dir / WANDB_DIR).mkdir(exist_ok=True)
        else:
            self._start(resume)

    def _start(self, resume: bool = False) -> None:
        """Connect to W&B, and send what is queued in the background."""
        self._set_wandb_variables(self.run_dir)
        self._init_deadline = time.monotonic() + _init_timeout_seconds()
        # without credentials wandb asks for them on a terminal, so this is done before training
        if self.mode == "offline" or not has_credentials():
            self._disable_on_error(partial(self._connect, resume))
        if not self._is_disabled:
            send = partial(self._disable_on_error, partial(self._process_calls, resume))
            self._sender_thread = Thread(target=send, daemon=True)
            self._sender_thread.start()

    def log(self, record: HistoryRecord) -> None:
        """Queue an epoch's history record."""
        if not self._is_disabled:
            self._call_queue.put(lambda run: self._log_record(run, record))

    def finish(self, summary: Summary, predictions: Predictions | None) -> str | None:
        """Send the result, finish the W&B run, and return where it can be found, if it exists."""
        self._is_finishing = True
        if self._is_deferred and summary["status"] not in UNFINISHED_STATUSES:
            self._start()
        # the thread has no ident if a signal came before it was started
        if self._is_disabled or not self._sender_thread.ident:
            return None
        self._call_queue.put(lambda run: self._finish_run(run, summary, predictions))
        self._call_queue.put(None)
        try:
            if summary["status"] == "interrupted":
                is_stopped_by_wandb = self._is_stop_requested or self.ids.is_agent_run
                grace_seconds = AGENT_GRACE_SECONDS if is_stopped_by_wandb else GRACE_SECONDS
                self._init_done.wait(grace_seconds)
                self._sender_thread.join(grace_seconds if self._run else 0)
            else:
                self._wait_for_sender()
        finally:
            self._is_abandoned = self._sender_thread.is_alive()
        return self._format_location(self._run) if self._run else None

    @property
    def hangs_at_exit(self) -> bool:
        """Whether wandb's exit hook would wait for a server that does not respond."""
        return self._is_abandoned and not self._run

    def _wait_for_sender(self) -> None:
        """Wait until W&B has everything or the timeouts have passed; explain a long wait."""
        if not self._init_done.wait(WAIT_MESSAGE_DELAY_SECONDS):
            seconds = max(0.0, self._init_deadline - time.monotonic())
            with suppress(OSError):
                print(
                    f"Waiting up to {seconds:.0f} s for W&B to respond; "
                    "after that the run stays offline.",
                    flush=True,
                )
        self._init_done.wait(
            max(0.0, self._init_deadline - time.monotonic()) + OFFLINE_FALLBACK_SECONDS
        )
        self._sender_thread.join(self.tracking.finish_timeout + GRACE_SECONDS)
        if self._sender_thread.is_alive():
            self._warn(f"not finished within {self.tracking.finish_timeout:g} s", self._upload_hint)

    def upload(
        self,
        history: Sequence[HistoryRecord],
        summary: Summary,
        predictions: Predictions | None,
        temp_dir: Path,
    ) -> str:
        """Upload a complete run and return its URL; unlike logging, any failure raises.

        A W&B run with the same id is overwritten. wandb's own files go to `temp_dir`.
        """
        self._set_wandb_variables(temp_dir)
        run = self._init_run(temp_dir)
        for record in history:
            self._log_record(run, record)
        self._finish_run(run, summary, predictions)
        if history:
            _wait_until_uploaded(run.path, history[-1]["epoch"])
        return str(run.url)

    def _set_wandb_variables(self, directory: Path) -> None:
        for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            os.environ[variable] = str(directory.absolute() / "wandb")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        for name, value in self.ids.variables.items():
            os.environ.setdefault(name, value)
        if self.ids.is_agent_run:  # wandb then takes the id from this variable only
            os.environ.setdefault("WANDB_RUN_ID", self.ids.run_id)

    def _connect(self, resume: bool) -> Run:
        """Start the W&B run, or an offline run if that fails."""
        try:
            if self.mode == "online":
                try:
                    self._run = self._init_run(self.run_dir, resume)
                    return self._run
                except Exception as error:
                    if self._is_abandoned:
                        raise
                    self._warn(format_reason(error), "the run stays offline")
                    with suppress(Exception, SystemExit):
                        _import_wandb().teardown()  # else it keeps hold of the failed run
                    self.mode = "offline"
            self._remove_offline_runs()
            self._run = self._init_run(self.run_dir)
            return self._run
        finally:
            self._init_done.set()

    def _remove_offline_runs(self) -> None:
        """Remove the offline runs of earlier sessions, which `wandb sync` would add to this one."""
        for stale_dir in self.run_dir.glob(OFFLINE_RUN_PATTERN):
            rmtree(stale_dir, ignore_errors=True)

    def _init_run(self, directory: Path, resume: bool = False) -> Run:
        tracking, wandb = self.tracking, _import_wandb()
        run: Run = wandb.init(
            mode=self.mode,
            dir=directory,
            project=tracking.project or os.environ.get("WANDB_PROJECT", "nn-sweeps"),
            entity=tracking.entity,
            name=tracking.name,
            group=tracking.group,
            job_type=tracking.job_type,
            tags=tracking.tags or None,
            notes=tracking.notes,
            config=(
                to_wandb_config(self.config)
                | self.ids.sweep_parameters
                | _read_trial_numbers(self.run_dir)
            ),
            id=self.ids.run_id,
            resume="allow" if resume else None,
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off",
                git_commit=self.ids.commit,
                init_timeout=_init_timeout_seconds(),
                finish_timeout=tracking.finish_timeout,
                finish_timeout_raises=True,
                # no bound method: wandb deep-copies its settings, and with it this logger
                stop_fn=lambda: self._stop_training(),
            ),
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        for name, uploaded_name in UPLOADED_FILES.items():
            copied = copyfile(self.run_dir / name, Path(run.dir) / uploaded_name)
            run.save(copied, run.dir, "end")
        return run

    def _stop_training(self) -> None:
        """Stop training on request from W&B, unless it has ended."""
        if not self._is_finishing:
            self._is_stop_requested = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _process_calls(self, resume: bool) -> None:
        """Connect to W&B, then make the queued calls in order, in the sender thread."""
        run = self._run or self._connect(resume)
        while call := self._call_queue.get():
            self._retry(partial(call, run))

    def _retry(self, call: Callable[[], None]) -> None:
        """Make a call, retrying while a server that is unavailable for some time refuses it."""
        deadline = time.monotonic() + self.tracking.finish_timeout
        while True:
            try:
                return call()
            except _import_wandb().Error:
                if self.mode == "offline" or time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def _send_missing_records(self, run: Run, restored_records: Iterable[HistoryRecord]) -> None:
        """Send the records of earlier sessions that W&B does not have yet."""
        next_step = run.step
        for record in restored_records:
            if record["epoch"] >= next_step:
                self._log_record(run, record)

    def _log_record(self, run: Run, record: HistoryRecord) -> None:
        row: dict[str, object] = {key: value for key, value in record.items() if value is not None}
        if confusion_matrix := record.get("val/confusion_matrix"):
            row["val/confusion_matrix"] = self._confusion_chart("val", confusion_matrix)
        run.log(row, step=record["epoch"])

    def _finish_run(self, run: Run, summary: Summary, predictions: Predictions | None) -> None:
        """Send media (with the last epoch's step), summary and model, and finish the W&B run."""
        media = self._result_tables(summary) | self._example_images(predictions)
        if media:
            run.log(media, step=summary["epochs"])
        excluded_keys = ("confusion_matrix", "class_names")
        run.summary.update(
            {key: value for key, value in summary.items() if key not in excluded_keys}
        )
        if self.tracking.log_model and summary["status"] == "finished":
            has_best_weights = self.config.restore_best
            path = checkpoint_path(self.run_dir, "best" if has_best_weights else "last")
            metrics = {key: value for key, value in summary.items() if isinstance(value, float)}
            metadata = {"config": to_wandb_config(self.config), **metrics}
            artifact = _import_wandb().Artifact(f"model-{run.id}", "model", metadata=metadata)
            artifact.add_file(str(path), "model.safetensors", skip_cache=True, policy="mutable")
            aliases = ["latest", "best"] if has_best_weights else ["latest"]
            run.log_artifact(artifact, aliases=aliases)
        if summary["status"] == "interrupted" and self.tracking.preemptible:
            run.mark_preempting()
        run.finish(self._exit_code(summary["status"]))

    def _result_tables(self, summary: Summary) -> dict[str, CustomChart | wandb.Table]:
        """Return the chart and the tables of the evaluation, by their keys in W&B."""
        confusion_matrix = summary.get("confusion_matrix")
        if "precision" not in summary or not confusion_matrix:
            return {}
        split = "test" if summary["test/accuracy"] is not None else "val"
        counts = wide_confusion_table(confusion_matrix, self.class_names)
        return {
            f"{split}/confusion_matrix": self._confusion_chart(split, confusion_matrix),
            f"{split}/confusion_counts": _wandb_table(counts),
            f"{split}/classes": _wandb_table(classification_report(summary, self.class_names)),
        }

    def _example_images(self, predictions: Predictions | None) -> dict[str, list[Image]]:
        """Return correctly and wrongly classified examples, by their keys in W&B."""
        if predictions is None or not predictions.has_images:
            return {}
        image, media = _import_wandb().Image, {}
        for name, correct in (("right", True), ("wrong", False)):
            examples = select_example_images(
                predictions, self.class_names, correct, self.tracking.num_examples
            )
            if examples:
                media[f"examples/{name}"] = [image(e.pixels, caption=e.caption) for e in examples]
        return media

    def _confusion_chart(self, split: str, confusion_matrix: list[list[int]]) -> CustomChart:
        """Return a chart of W&B's preset for confusion matrices."""
        cells = long_confusion_table(confusion_matrix, self.class_names)
        chart: CustomChart = _import_wandb().plot_table(
            "wandb/confusion_matrix/v1",
            _wandb_table(cells),
            {column: column for column in cells.columns},
            {"title": f"Confusion matrix ({split})"},
        )
        return chart

    def _exit_code(self, status: str) -> int:
        """Return the exit code for W&B; 0 for a diverged trial, so that a sweep learns from it."""
        if status == "interrupted":
            return KILLED_EXIT_CODE
        is_success = status in ("finished", "pruned", "paused")
        return 0 if is_success or (status == "diverged" and self.ids.is_agent_run) else 1

    @property
    def _upload_hint(self) -> str:
        return f"{format_command('upload', relpath(self.run_dir))} uploads it"

    def _format_location(self, run: Run) -> str:
        if self.mode == "online":
            return f"W&B: {run.url}"
        return f"W&B: offline; to upload the run: wandb sync {relpath(run.settings.sync_dir)}"

    def _disable_on_error(self, call: Callable[[], object]) -> None:
        """Make a call; if it fails, warn and stop logging to W&B."""
        try:
            call()
        except Exception as error:
            self._is_disabled = True
            self._warn(format_reason(error), self._upload_hint)

    def _warn(self, reason: str, hint: str) -> None:
        if not (self._has_warned or self._is_abandoned):
            self._has_warned = True
            message = f"W&B failed ({reason}); the run directory has everything, and {hint}."
            with suppress(OSError):
                print(message, file=sys.stderr)


def _import_wandb() -> ModuleType:
    """Import wandb on first use, and replace three private parts of it (checked with 0.31).

    wandb.util.pd_available: wandb would import pandas to recognize data frames.
    wandb.util.working_set: each run of a process would list the installed packages again.
    The logger's addHandler: a full disk would print a traceback for each line of debug.log.
    """
    import wandb

    wandb.util.pd_available = False
    if not hasattr(wandb.util.working_set, "cache_info"):
        list_packages = wandb.util.working_set
        wandb.util.working_set = lru_cache(lambda: list(list_packages()))
    logger = logging.getLogger("wandb")
    if "addHandler" not in vars(logger):
        add_handler = partial(_add_handler_ignoring_errors, logger)
        logger.addHandler = add_handler  # type: ignore[method-assign]  # against full disks, above
    return wandb


def _wandb_table(table: Table) -> wandb.Table:
    wandb_table: wandb.Table = _import_wandb().Table(columns=table.columns, data=table.rows)
    return wandb_table


def _add_handler_ignoring_errors(logger: logging.Logger, handler: logging.Handler) -> None:
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # of any class
    logging.Logger.addHandler(logger, handler)


def _wait_until_uploaded(run_path: str, epoch: int) -> None:
    """Wait until W&B shows the last epoch: the client does not report what the server rejects."""
    deadline = time.monotonic() + UPLOAD_CONFIRMATION_SECONDS
    while _import_wandb().Api().run(run_path).lastHistoryStep < epoch:
        if time.monotonic() > deadline:
            raise SaveError(f"W&B does not show epoch {epoch} of {run_path}")
        time.sleep(1)


def load_sweep(path: str) -> Sweep:
    """Load the sweep ENTITY/PROJECT/SWEEP from the server."""
    os.environ.setdefault("WANDB_SILENT", "true")
    sweep: Sweep = _import_wandb().Api().sweep(path)
    return sweep


def stop_run(path: str) -> None:
    """Ask the run ENTITY/PROJECT/RUN to stop, as the button in W&B does."""
    _import_wandb().Api().run(path).stop()


def report_rejected_trial(reason: str) -> None:
    """Report why a sweep agent's trial cannot start, also to W&B, where the trial then fails."""
    run = None
    with TemporaryDirectory() as temp_dir:
        os.environ |= {"WANDB_DATA_DIR": temp_dir, "WANDB_SILENT": "true"}
        settings = {"init_timeout": 30.0, "finish_timeout": 30.0}
        with suppress(Exception):
            run = _import_wandb().init(dir=temp_dir, resume="allow", settings=settings)
        print(reason, file=sys.stderr)  # which W&B adds to the log of the run
        if run:
            with suppress(Exception):
                run.summary.update({"status": "refused", "reason": reason})
                run.finish(2)


def _init_timeout_seconds() -> float:
    """Return the time that W&B has to respond to the first request."""
    try:
        return float(os.environ["WANDB_INIT_TIMEOUT"])
    except (KeyError, ValueError):
        return 30.0


def format_reason(error: Exception) -> str:
    """Return the first line of an error's message, or the first of wandb's invalid settings."""
    from pydantic import ValidationError  # slow to import, and needed here only

    if isinstance(error, ValidationError):  # of wandb's settings
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def _read_trial_numbers(run_dir: Path) -> JsonObject:
    """Return the number of a sweep's trial, and that of its point's first trial, to group by."""
    try:
        record = to_mapping(parse_json(read_regular_file(run_dir, TRIAL_FILE, MAX_TRIAL_BYTES)))
    except (OSError, ValueError, UserError):
        return {}
    number = record.get("number")
    return {"trial": number, "point": record.get("replicate_of", number)}


def to_wandb_config(config: Config) -> JsonObject:
    """Convert a configuration to the form that it has in W&B.

    Hyperparameters and chosen options, which a sweep sets, are plain values at the top, where the
    sweep overwrites exactly them. The settings of the options are nested under `settings`.
    """
    return {
        **config.model_dump(include=set(HYPERPARAMETERS)),
        **config.choices,
        "settings": dict(sorted(config.component_settings.items())),
    }
