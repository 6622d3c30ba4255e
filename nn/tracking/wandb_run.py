"""A run in Weights & Biases: how it is started, and what is sent. No other file imports wandb."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING

from nn.config.schema import HYPERPARAMETERS, Config
from nn.errors import SaveError, UserError
from nn.io.coerce import to_mapping
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
from nn.tracking.settings import Tracking
from nn.tracking.wandb_ids import WandbIds
from nn.training import HistoryRecord

if TYPE_CHECKING:
    import wandb
    from wandb import Image, Run
    from wandb.apis.public import Sweep
    from wandb.plot.custom_chart import CustomChart

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
RUN_PATTERN = f"{WANDB_DIR}/*run-*"
"""W&B runs in a run directory, offline or not."""
KILLED_EXIT_CODE = 255
"""The exit code with which W&B shows a run as killed instead of failed."""


class WandbRun:
    """A run in W&B, logged while it trains or written later from its run directory."""

    def __init__(
        self,
        tracking: Tracking,
        run_dir: Path,
        config: Config,
        environment: Mapping[str, object],
        class_names: Sequence[str],
        on_stop_request: Callable[[], None] = lambda: None,
    ) -> None:
        self.tracking, self.run_dir, self.config = tracking, run_dir, config
        self.class_names, self.on_stop_request = class_names, on_stop_request
        self.ids = WandbIds.from_environment(environment)
        self._run: Run | None = None

    @property
    def is_started(self) -> bool:
        """Whether the run exists in W&B, online or offline."""
        return self._run is not None

    def start(self, mode: str, directory: Path | None = None, resume: bool = False) -> None:
        """Start the run in W&B.

        Args:
            mode: online or offline.
            directory: Where wandb puts its files of the run; by default in the run directory.
            resume: Whether to continue a run that W&B may already have.
        """
        tracking, wandb = self.tracking, import_wandb()
        run: Run = wandb.init(
            mode=mode,
            dir=directory or self.run_dir,
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
                init_timeout=init_timeout_seconds(),
                finish_timeout=tracking.finish_timeout,
                finish_timeout_raises=True,
                # no bound method: wandb deep-copies its settings, and with it this object
                stop_fn=lambda: self.on_stop_request(),
                **_git_settings(),
            ),
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        for name, uploaded_name in UPLOADED_FILES.items():
            copied = copyfile(self.run_dir / name, Path(run.dir) / uploaded_name)
            run.save(copied, run.dir, "end")
        _git_settings_by_cwd[Path.cwd()] = {
            "git_root": run.settings.git_root,
            "git_remote_url": run.settings.git_remote_url,
            "disable_git": run.settings.git_root is None,
        }
        self._run = run

    def log(self, record: HistoryRecord) -> None:
        """Send an epoch's history record."""
        row: dict[str, object] = {key: value for key, value in record.items() if value is not None}
        if confusion_matrix := record.get("val/confusion_matrix"):
            row["val/confusion_matrix"] = self._confusion_chart("val", confusion_matrix)
        self._require_run().log(row, step=record["epoch"])

    def log_missing(self, records: Iterable[HistoryRecord]) -> None:
        """Send the records of earlier sessions that W&B does not have yet."""
        next_step = self._require_run().step
        for record in records:
            if record["epoch"] >= next_step:
                self.log(record)

    def finish(self, summary: Summary, predictions: Predictions | None) -> None:
        """Send media (with the last epoch's step), summary and model, and finish the W&B run."""
        run = self._require_run()
        media = self._result_tables(summary) | self._example_images(predictions)
        if summary["epochs"]:
            # committed, since the row of the last epoch would otherwise overwrite the summary
            run.log(media, step=summary["epochs"], commit=True)
        excluded_keys = ("confusion_matrix", "class_names")
        run.summary.update(
            {key: value for key, value in summary.items() if key not in excluded_keys}
        )
        if self.tracking.log_model and summary["status"] == "finished":
            has_best_weights = self.config.restore_best
            path = checkpoint_path(self.run_dir, "best" if has_best_weights else "last")
            metrics = {key: value for key, value in summary.items() if isinstance(value, float)}
            metadata = {"config": to_wandb_config(self.config), **metrics}
            artifact = import_wandb().Artifact(f"model-{run.id}", "model", metadata=metadata)
            artifact.add_file(str(path), "model.safetensors", skip_cache=True, policy="mutable")
            aliases = ["latest", "best"] if has_best_weights else ["latest"]
            run.log_artifact(artifact, aliases=aliases)
        if summary["status"] == "interrupted" and self.tracking.preemptible:
            run.mark_preempting()
        run.finish(self._exit_code(summary["status"]))

    def upload(
        self,
        history: Iterable[HistoryRecord],
        summary: Summary,
        predictions: Predictions | None,
        temp_dir: Path,
    ) -> str:
        """Upload a complete run and return its URL; wandb's own files go to `temp_dir`.

        A W&B run with the same id is overwritten.
        """
        records = list(history)
        self.set_variables(temp_dir)
        self.start("online", temp_dir)
        run = self._require_run()
        for record in records:
            self.log(record)
        self.finish(summary, predictions)
        if records:
            _wait_until_uploaded(run.path, records[-1]["epoch"])
        return str(run.url)

    def write_offline(
        self,
        history: Iterable[HistoryRecord],
        summary: Summary,
        predictions: Predictions | None,
    ) -> str:
        """Write the offline run of a session that has ended, and return where it is.

        It appears in the run directory when it is complete; the files of an attempt that was
        killed are removed.
        """
        wandb_dir = self.run_dir / WANDB_DIR
        for path in wandb_dir.glob("*"):
            rmtree(path, ignore_errors=True)
        partial_dir = wandb_dir / "partial"
        partial_dir.mkdir(parents=True)
        self.set_variables(self.run_dir)
        self.start("offline", partial_dir)
        for record in history:
            self.log(record)
        self.finish(summary, predictions)
        offline_dir = Path(self._require_run().settings.sync_dir)
        target_dir = wandb_dir / offline_dir.name
        offline_dir.rename(target_dir)
        rmtree(partial_dir, ignore_errors=True)
        return _offline_location(target_dir)

    def set_variables(self, data_dir: Path) -> None:
        """Set the environment variables that wandb reads; its data go to a directory."""
        for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            os.environ[variable] = str(data_dir.absolute() / "wandb")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        for name, value in self.ids.variables.items():
            os.environ.setdefault(name, value)
        if self.ids.is_agent_run:  # wandb then takes the id from this variable only
            os.environ.setdefault("WANDB_RUN_ID", self.ids.run_id)

    def remove_offline_runs(self) -> None:
        """Remove the offline runs of earlier sessions, which `wandb sync` would add to this one."""
        for stale_dir in self.run_dir.glob(OFFLINE_RUN_PATTERN):
            rmtree(stale_dir, ignore_errors=True)

    def format_location(self) -> str | None:
        """Describe where the run can be found in W&B; None if it was not started."""
        run = self._run
        if run is None:
            return None
        if not run.offline:
            return f"W&B: {run.url}"
        return _offline_location(run.settings.sync_dir)

    def _require_run(self) -> Run:
        assert self._run is not None
        return self._run

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
        image, media = import_wandb().Image, {}
        for name, correct in (("right", True), ("wrong", False)):
            examples = select_example_images(
                predictions, self.class_names, correct, self.tracking.num_examples
            )
            if examples:
                media[f"examples/{name}"] = [image(e.pixels, caption=e.caption) for e in examples]
        return media

    def _confusion_chart(self, split: str, confusion_matrix: list[list[int]]) -> CustomChart:
        """Return a confusion matrix as a chart of W&B's preset."""
        cells = long_confusion_table(confusion_matrix, self.class_names)
        chart: CustomChart = import_wandb().plot_table(
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


_git_settings_by_cwd: dict[Path, dict[str, str | bool | None]] = {}
"""Cached git information of wandb, which would otherwise run git for every run."""


def _git_settings() -> dict[str, str | bool | None]:
    return _git_settings_by_cwd.get(Path.cwd(), {})


def _offline_location(offline_dir: str | Path) -> str:
    return f"W&B: offline; to upload the run: wandb sync {relpath(offline_dir)}"


def teardown() -> None:
    """Let wandb forget its runs."""
    import_wandb().teardown()


def retry_on_server_error(call: Callable[[], None], timeout_seconds: float) -> None:
    """Make a call, retrying while a server that is unavailable for some time refuses it."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return call()
        except import_wandb().Error:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


def import_wandb() -> ModuleType:
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


def _add_handler_ignoring_errors(logger: logging.Logger, handler: logging.Handler) -> None:
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # of any class
    logging.Logger.addHandler(logger, handler)


def _wandb_table(table: Table) -> wandb.Table:
    """Create W&B's table; it infers the types of the columns from each row, which is slow."""
    has_equal_types = len({(*map(type, row),) for row in table.rows}) == 1
    num_typed_rows = 1 if has_equal_types else len(table.rows)
    wandb_table: wandb.Table = import_wandb().Table(
        columns=table.columns, data=table.rows[:num_typed_rows]
    )
    wandb_table.data += table.rows[num_typed_rows:]
    return wandb_table


def _wait_until_uploaded(run_path: str, epoch: int) -> None:
    """Wait until W&B shows the last epoch: the client does not report what the server rejects."""
    deadline = time.monotonic() + UPLOAD_CONFIRMATION_SECONDS
    while import_wandb().Api().run(run_path).lastHistoryStep < epoch:
        if time.monotonic() > deadline:
            raise SaveError(f"W&B does not show epoch {epoch} of {run_path}")
        time.sleep(1)


def load_sweep(path: str) -> Sweep:
    """Load the sweep ENTITY/PROJECT/SWEEP from the server."""
    os.environ.setdefault("WANDB_SILENT", "true")
    sweep: Sweep = import_wandb().Api().sweep(path)
    return sweep


def stop_run(path: str) -> None:
    """Ask the run ENTITY/PROJECT/RUN to stop, as the button in W&B does."""
    import_wandb().Api().run(path).stop()


def report_rejected_trial(reason: str) -> None:
    """Report why a sweep agent's trial cannot start, also to W&B, where the trial then fails."""
    run = None
    with TemporaryDirectory() as temp_dir:
        os.environ |= {"WANDB_DATA_DIR": temp_dir, "WANDB_SILENT": "true"}
        settings = {"init_timeout": 30.0, "finish_timeout": 30.0}
        with suppress(Exception):
            run = import_wandb().init(dir=temp_dir, resume="allow", settings=settings)
        print(reason, file=sys.stderr)  # which W&B adds to the log of the run
        if run:
            with suppress(Exception):
                run.summary.update({"status": "refused", "reason": reason})
                run.finish(2)


def init_timeout_seconds() -> float:
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
