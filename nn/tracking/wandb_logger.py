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
from typing import TYPE_CHECKING, Any

from nn.config.knobs import HYPERPARAMETERS
from nn.errors import SaveError
from nn.io.command_line import format_command
from nn.io.paths import relpath
from nn.predictions import Predictions
from nn.tracking.agent import WANDB_RUN_VARIABLES, get_run_id
from nn.tracking.media import MediaBuilder
from nn.tracking.settings import Tracking, has_credentials

if TYPE_CHECKING:
    from wandb import Run

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
UPLOADED_FILES = {"config.yaml": "settings.yaml", "environment.json": "environment.json"}
"""Files of the run directory that are uploaded, with their names in W&B.

W&B writes a config.yaml of its own.
"""
KILLED_EXIT_CODE = 255
"""The exit code with which W&B shows a run as killed instead of failed."""


class WandbLogger:
    """Logs one run to W&B in a background thread, for which only `finish` waits."""

    def __init__(
        self,
        tracking: Tracking,
        run_dir: Path,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        class_names: Sequence[str],
    ) -> None:
        self.tracking, self.config, self.class_names = tracking, config, class_names
        self.run_dir, self.environment = run_dir, environment
        self.run_id, self.mode = get_run_id(environment), tracking.resolved_mode
        self._run: Run | None = None
        self._is_disabled = self._has_warned = self._is_stop_requested = self._is_finishing = (
            self._is_abandoned
        ) = False
        self._init_deadline = 0.0
        self._init_done, self._sender_thread = Event(), Thread()
        self._call_queue: SimpleQueue[Callable[[Run], None] | None] = SimpleQueue()

    def init(
        self, restored_records: Iterable[Mapping[str, Any]] = (), resume: bool = False
    ) -> None:
        """Start connecting to W&B in the background; if that fails, log to an offline run.

        Args:
            restored_records: The history of earlier sessions; W&B gets what it does not have.
            resume: Whether to continue a run that W&B may already have.
        """
        self._is_disabled = self.mode == "disabled"
        if self._is_disabled:
            return
        self._set_wandb_variables(self.run_dir)
        self._init_deadline = time.monotonic() + _init_timeout_seconds()
        self._call_queue.put(lambda run: self._send_missing_records(run, restored_records))
        # without credentials wandb asks for them on a terminal, so this is done before training
        if self.mode == "offline" or not has_credentials():
            self._disable_on_error(partial(self._connect, resume))
        if not self._is_disabled:
            send = partial(self._disable_on_error, partial(self._process_calls, resume))
            self._sender_thread = Thread(target=send, daemon=True)
            self._sender_thread.start()

    def log(self, record: Mapping[str, Any]) -> None:
        """Queue an epoch's history record."""
        if not self._is_disabled:
            self._call_queue.put(lambda run: self._log_record(run, record))

    def finish(self, summary: Mapping[str, Any], predictions: Predictions | None) -> str | None:
        """Send the result, finish the W&B run, and return where it can be found, if it exists."""
        self._is_finishing = True
        # the thread has no ident if a signal came before it was started
        if self._is_disabled or not self._sender_thread.ident:
            return None
        self._call_queue.put(lambda run: self._finish_run(run, summary, predictions))
        self._call_queue.put(None)
        try:
            if summary["status"] == "interrupted":
                is_stopped_by_wandb = self._is_stop_requested or self._is_agent_run
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
        history: Sequence[Mapping[str, Any]],
        summary: Mapping[str, Any],
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
        fallback_summary = {"status": "crashed", "epochs": len(history)}
        self._finish_run(run, summary or fallback_summary, predictions)
        if history:
            _wait_until_uploaded(run.path, history[-1]["epoch"])
        return str(run.url)

    def _set_wandb_variables(self, directory: Path) -> None:
        for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            os.environ[variable] = str(directory.absolute() / "wandb")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        for name, value in self._wandb_variables.items():
            os.environ.setdefault(name, value)

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
                    _teardown_wandb()
                    self.mode = "offline"
            for stale_dir in self.run_dir.glob("wandb/offline-run-*"):
                rmtree(stale_dir, ignore_errors=True)
            self._run = self._init_run(self.run_dir)
            return self._run
        finally:
            self._init_done.set()

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
            config=to_wandb_config(self.config) | self.environment.get("sweep_parameters", {}),
            id=self.run_id,
            resume="allow" if resume else None,
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off",
                git_commit=self.environment.get("git", {}).get("commit"),
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

    def _send_missing_records(
        self, run: Run, restored_records: Iterable[Mapping[str, Any]]
    ) -> None:
        """Send the records of earlier sessions that W&B does not have yet."""
        next_step = run.step
        for record in restored_records:
            if record["epoch"] >= next_step:
                self._log_record(run, record)

    def _log_record(self, run: Run, record: Mapping[str, Any]) -> None:
        run.log(self._media_builder.build_history_row(record), step=record["epoch"])

    def _finish_run(
        self, run: Run, summary: Mapping[str, Any], predictions: Predictions | None
    ) -> None:
        """Send media (with the last epoch's step), summary and model, and finish the W&B run."""
        media = self._media_builder.build_result_media(
            summary, predictions, self.tracking.num_examples
        )
        if media:
            run.log(media, step=summary["epochs"])
        excluded_keys = ("confusion_matrix", "class_names")
        run.summary.update(
            {key: value for key, value in summary.items() if key not in excluded_keys}
        )
        if self.tracking.log_model and summary["status"] == "finished":
            uses_best_weights = self.config["restore_best"]
            checkpoint_path = (
                self.run_dir
                / "checkpoints"
                / f"{'best' if uses_best_weights else 'last'}.safetensors"
            )
            metrics = {key: value for key, value in summary.items() if isinstance(value, float)}
            metadata = {"config": to_wandb_config(self.config), **metrics}
            artifact = self._media_builder.build_model_artifact(
                f"model-{run.id}", checkpoint_path, metadata
            )
            run.log_artifact(
                artifact, aliases=["latest", "best"] if uses_best_weights else ["latest"]
            )
        if summary["status"] == "interrupted" and self.tracking.preemptible:
            run.mark_preempting()
        run.finish(self._exit_code(summary["status"]))

    @property
    def _media_builder(self) -> MediaBuilder:
        return MediaBuilder(_import_wandb(), self.class_names)

    @property
    def _wandb_variables(self) -> dict[str, str]:
        """W&B's environment variables as they were when the run started."""
        recorded = self.environment.get("wandb_env", {})
        variables = {name: str(recorded[name]) for name in WANDB_RUN_VARIABLES if name in recorded}
        # in a sweep wandb takes the id of a run from this variable only
        return variables | ({"WANDB_RUN_ID": self.run_id} if "WANDB_SWEEP_ID" in variables else {})

    @property
    def _is_agent_run(self) -> bool:
        return "WANDB_SWEEP_ID" in self._wandb_variables

    def _exit_code(self, status: str) -> int:
        """Return the exit code for W&B; 0 for a diverged trial, so that a sweep learns from it."""
        if status == "interrupted":
            return KILLED_EXIT_CODE
        is_success = status in ("finished", "pruned")
        return 0 if is_success or (status == "diverged" and self._is_agent_run) else 1

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


def _import_wandb() -> Any:
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
        logger.addHandler = partial(_add_handler_quietly, logger)  # type: ignore[method-assign]
    return wandb


def _add_handler_quietly(logger: logging.Logger, handler: logging.Handler) -> None:
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    logging.Logger.addHandler(logger, handler)


def _wait_until_uploaded(run_path: str, epoch: int) -> None:
    """Wait until W&B shows the last epoch: the client does not report what the server rejects."""
    deadline = time.monotonic() + UPLOAD_CONFIRMATION_SECONDS
    while _import_wandb().Api().run(run_path).lastHistoryStep < epoch:
        if time.monotonic() > deadline:
            raise SaveError(f"W&B does not show epoch {epoch} of {run_path}")
        time.sleep(1)


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


def _teardown_wandb() -> None:
    """Shut wandb down after a failed attempt, which otherwise keeps hold of the run."""
    with suppress(Exception, SystemExit):
        _import_wandb().teardown()


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


def to_wandb_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a configuration to the form that it has in W&B.

    Hyperparameters and chosen options, which a sweep sets, are plain values at the top, where the
    sweep overwrites exactly them. The settings of the options are nested under `settings`.
    """
    groups = {group for group in config["choices"] if group in config}
    return {
        **{name: config[name] for name in HYPERPARAMETERS},
        **config["choices"],
        "settings": {group: config[group] for group in sorted(groups)},
    }
