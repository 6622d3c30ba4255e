"""Weights & Biases: the mirror of the run folder. No other file imports wandb.

Whatever W&B does or fails to do costs one warning at most; the run goes on.
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
from nn.io.paths import relpath
from nn.predictions import Predictions
from nn.tracking.agent import WANDB_RUN_VARIABLES, get_run_id
from nn.tracking.media import MediaBuilder
from nn.tracking.settings import Tracking, has_credentials

if TYPE_CHECKING:
    from wandb import Run

GRACE_SECONDS = 1.0
"""Seconds that W&B may take to answer, and then to be told of an end by a signal."""
AGENT_GRACE_SECONDS = 5.0
"""The same where W&B is surely there, since it or its agent has sent the signal."""
WAIT_MESSAGE_DELAY_SECONDS = 3.0
"""Seconds to wait for W&B at the end before it is said what for."""
OFFLINE_FALLBACK_SECONDS = 20.0
"""Seconds that it may take to give up on W&B and begin an offline run in its place."""
UPLOAD_CONFIRMATION_SECONDS = 20.0
"""Seconds that W&B may take to show what has been uploaded."""
UPLOADED_FILES = {"config.yaml": "settings.yaml", "environment.json": "environment.json"}
"""Files of a run folder that go along, and their names there; W&B has a config.yaml of its own."""
KILLED_EXIT_CODE = 255
"""The exit code that W&B shows as killed, not as failed."""


class WandbLogger:
    """One run in W&B."""

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
        """Begin the run in W&B; if it cannot be reached, in a file to be uploaded later.

        W&B is connected to while the training runs. What had begun before is sent as far as W&B
        does not have it.
        """
        self._is_disabled = self.mode == "disabled"
        if self._is_disabled:
            return
        self._set_wandb_variables(self.run_dir)
        self._init_deadline = time.monotonic() + _init_timeout_seconds()
        self._call_queue.put(lambda run: self._send_missing_records(run, restored_records))
        if self.mode == "offline" or not has_credentials():  # for which wandb asks on a terminal
            self._disable_on_error(partial(self._connect, resume))
        if not self._is_disabled:
            send = partial(self._disable_on_error, partial(self._process_calls, resume))
            self._sender_thread = Thread(target=send, daemon=True)
            self._sender_thread.start()

    def log(self, record: Mapping[str, Any]) -> None:
        """Send an epoch's line of history, as soon as what came before is sent."""
        if not self._is_disabled:
            self._call_queue.put(lambda run: self._log_record(run, record))

    def finish(self, summary: Mapping[str, Any], predictions: Predictions | None) -> str | None:
        """Send the result, end the run, and tell where it is to be found."""
        self._is_finishing = True
        if (
            self._is_disabled or not self._sender_thread.ident
        ):  # a signal may come before it is started
            return None
        self._call_queue.put(lambda run: self._finish_run(run, summary, predictions))
        self._call_queue.put(None)
        try:
            if summary["status"] == "interrupted":
                is_stopped_by_wandb = (
                    self._is_stop_requested or "WANDB_SWEEP_ID" in self._wandb_variables
                )
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
        """Whether wandb would wait for a server that does not answer when the process exits."""
        return self._is_abandoned and not self._run

    def _wait_for_sender(self) -> None:
        """Wait until W&B has everything, for as long as it may take, and say so if that is long."""
        if not self._init_done.wait(WAIT_MESSAGE_DELAY_SECONDS):
            seconds = max(0.0, self._init_deadline - time.monotonic())
            with suppress(OSError):
                print(
                    f"Waiting for W&B to answer, for {seconds:.0f} s at the most; "
                    "then the run stays offline.",
                    flush=True,
                )
        self._init_done.wait(
            max(0.0, self._init_deadline - time.monotonic()) + OFFLINE_FALLBACK_SECONDS
        )
        self._sender_thread.join(self.tracking.finish_timeout + GRACE_SECONDS)
        if self._sender_thread.is_alive():
            self._warn(f"not done within {self.tracking.finish_timeout:g} s", self._upload_hint)

    def upload(
        self,
        history: Sequence[Mapping[str, Any]],
        summary: Mapping[str, Any],
        predictions: Predictions | None,
        temp_dir: Path,
    ) -> str:
        """Make a whole run in W&B of one that has ended; whatever goes wrong is an error.

        A run of the same id is written anew. What wandb needs meanwhile is put aside.
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
        """Begin the run in W&B, or offline if that fails."""
        try:
            if self.mode == "online":
                try:
                    self._run = self._init_run(self.run_dir, resume)
                    return self._run
                except Exception as error:
                    if self._is_abandoned:
                        raise
                    self._warn(_format_reason(error), "the run stays offline")
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
                stop_fn=lambda: self._stop_training(),  # wandb copies deeply what this belongs to
            ),
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        for name, uploaded_name in UPLOADED_FILES.items():
            copied = copyfile(self.run_dir / name, Path(run.dir) / uploaded_name)
            run.save(copied, run.dir, "end")
        return run

    def _stop_training(self) -> None:
        """End the training, as someone has asked for in W&B, unless it has ended."""
        if not self._is_finishing:
            self._is_stop_requested = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _process_calls(self, resume: bool) -> None:
        """Connect, then do what is asked for in its turn, while the training runs."""
        run = self._run or self._connect(resume)
        while call := self._call_queue.get():
            self._retry(partial(call, run))

    def _retry(self, call: Callable[[], None]) -> None:
        """Do something that a server which is away for a while may refuse at first."""
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
        """Send what W&B does not have yet."""
        next_step = run.step
        for record in restored_records:
            if record["epoch"] >= next_step:
                self._log_record(run, record)

    def _log_record(self, run: Run, record: Mapping[str, Any]) -> None:
        run.log(self._media_builder.build_history_row(record), step=record["epoch"])

    def _finish_run(
        self, run: Run, summary: Mapping[str, Any], predictions: Predictions | None
    ) -> None:
        """Send what there is at the end, as a part of the last epoch's line."""
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
        """What W&B's variables said when the run began, of a sweep agent above all."""
        recorded = self.environment.get("wandb_env", {})
        variables = {name: str(recorded[name]) for name in WANDB_RUN_VARIABLES if name in recorded}
        # in a sweep wandb takes the run's id from nowhere else
        return variables | ({"WANDB_RUN_ID": self.run_id} if "WANDB_SWEEP_ID" in variables else {})

    def _exit_code(self, status: str) -> int:
        """Say it as W&B understands it; a sweep is to learn from what diverged, too."""
        if status == "interrupted":
            return KILLED_EXIT_CODE
        is_success = status in ("finished", "pruned")
        return (
            0
            if is_success or (status == "diverged" and "WANDB_SWEEP_ID" in self._wandb_variables)
            else 1
        )

    @property
    def _upload_hint(self) -> str:
        return f"python scripts/upload.py {relpath(self.run_dir)} uploads it"

    def _format_location(self, run: Run) -> str:
        if self.mode == "online":
            return f"W&B: {run.url}"
        return f"W&B: offline; to upload the run: wandb sync {relpath(run.settings.sync_dir)}"

    def _disable_on_error(self, call: Callable[[], object]) -> None:
        """Do something with W&B; if that fails, let go of the run there."""
        try:
            call()
        except Exception as error:
            self._is_disabled = True
            self._warn(_format_reason(error), self._upload_hint)

    def _warn(self, reason: str, hint: str) -> None:
        if not (self._has_warned or self._is_abandoned):
            self._has_warned = True
            message = f"W&B failed ({reason}); the run folder has everything, and {hint}."
            with suppress(OSError):
                print(message, file=sys.stderr)


def _import_wandb() -> Any:
    """Import wandb where it is used, without what makes it slow."""
    import wandb

    wandb.util.pd_available = False  # else it imports pandas to tell a table from a data frame
    if not hasattr(wandb.util.working_set, "cache_info"):
        # else each run of a process looks at all installed packages again
        once = lru_cache(lambda look=wandb.util.working_set: list(look()))
        wandb.util.working_set = once
    logger = logging.getLogger("wandb")
    if "addHandler" not in vars(logger):
        # else a full disk costs a traceback for each line of wandb's debug.log
        logger.addHandler = partial(_add_handler_quietly, logger)  # type: ignore[method-assign]
    return wandb


def _add_handler_quietly(logger: logging.Logger, handler: logging.Handler) -> None:
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    logging.Logger.addHandler(logger, handler)


def _wait_until_uploaded(run_path: str, epoch: int) -> None:
    """Wait until W&B shows a run's last epoch; what it refuses, its client does not tell."""
    deadline = time.monotonic() + UPLOAD_CONFIRMATION_SECONDS
    while _import_wandb().Api().run(run_path).lastHistoryStep < epoch:
        if time.monotonic() > deadline:
            raise SaveError(f"W&B does not show epoch {epoch} of {run_path}")
        time.sleep(1)


def report_rejected_trial(reason: str) -> None:
    """Tell why a sweep agent's trial cannot begin, W&B too, so that it counts as failed there."""
    run = None
    with TemporaryDirectory() as temp_dir:
        os.environ |= {"WANDB_DATA_DIR": temp_dir, "WANDB_SILENT": "true"}
        settings = {"init_timeout": 30.0, "finish_timeout": 30.0}
        with suppress(Exception):
            run = _import_wandb().init(dir=temp_dir, resume="allow", settings=settings)
        print(reason, file=sys.stderr)  # which W&B takes into its log
        if run:
            with suppress(Exception):
                run.summary.update({"status": "refused", "reason": reason})
                run.finish(2)


def _teardown_wandb() -> None:
    """Let go of an attempt that failed, which still holds the run's name."""
    with suppress(Exception, SystemExit):
        _import_wandb().teardown()


def _init_timeout_seconds() -> float:
    """Seconds that W&B may take to answer at first."""
    try:
        return float(os.environ["WANDB_INIT_TIMEOUT"])
    except (KeyError, ValueError):
        return 30.0


def _format_reason(error: Exception) -> str:
    from pydantic import ValidationError  # which training does not need

    if isinstance(error, ValidationError):  # of wandb's settings
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def to_wandb_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give a configuration the form that a W&B sweep cannot damage.

    A sweep sets knobs and chosen options: these stand at the top as plain values. The settings
    of the options are nested under one key of their own.
    """
    groups = {group for group in config["choices"] if group in config}
    return {
        **{knob: config[knob] for knob in HYPERPARAMETERS},
        **config["choices"],
        "settings": {group: config[group] for group in sorted(groups)},
    }
