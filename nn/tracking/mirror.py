"""Weights & Biases: the mirror of the run folder. No other file imports wandb.

Whatever W&B does or fails to do costs one warning at most; the run goes on.
"""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nn.errors import Mistake, require
from nn.knobs import KNOBS
from nn.tracking.places import short
from nn.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from wandb import Run

MODES = ("auto", "online", "offline", "disabled")
ENVIRONMENT = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline"}
"""The words of WANDB_MODE, beside disabled."""


MOMENT = 1.0
"""Seconds that W&B may take to be told of an end by a signal."""


@dataclass(frozen=True)
class Tracking:
    """Where in W&B a run belongs, and whether it is sent there at once."""

    mode: str = "auto"
    project: str | None = None
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None

    def __post_init__(self) -> None:
        require(self.mode in MODES, "mode", self.mode, "one of " + ", ".join(MODES))
        project = self.project
        usable = project is None or (len(project) <= 128 and not set(project) & set("/\\#?%:"))
        require(usable, "project", project, "at most 128 characters, none of them / \\ # ? % :")
        fitting = all(1 <= len(tag) <= 64 for tag in self.tags)
        require(fitting, "tags", self.tags, "a list of tags of 1 to 64 characters")

    @property
    def mode_here(self) -> str:
        """What `auto` means on this machine; `online` is refused without credentials."""
        if self.mode == "auto":
            wanted = os.environ.get("WANDB_MODE")
            if not wanted:
                return "online" if "WANDB_SWEEP_ID" in os.environ or _credentials() else "offline"
            if wanted not in (*ENVIRONMENT, "disabled"):
                raise Mistake(f"WANDB_MODE={wanted}: it must be online, offline or disabled.")
            return ENVIRONMENT.get(wanted, wanted)
        if self.mode == "online" and not _credentials():
            raise Mistake(
                "tracking=online: there are no W&B credentials here; run wandb login, "
                "set WANDB_API_KEY, or choose tracking=offline."
            )
        return self.mode

    def check(self) -> None:
        """Refuse what cannot work, before anything is written."""
        _ = self.mode_here


class Mirror:
    """One run in W&B."""

    def __init__(self, tracking: Tracking, folder: RunFolder, config: Mapping[str, Any]) -> None:
        self.tracking, self.config = tracking, mirrored(config)
        self.folder, self.id = folder.path, folder.run_id
        self.mode = tracking.mode_here
        self._run: Run | None = None

    def open(self, resumed: bool) -> None:
        """Begin the run in W&B; if it cannot be reached, in a file to be uploaded later."""
        self.resumed = resumed
        if self.mode == "online":
            self._safely(self._open, "keeps the run offline")
            if self._run:
                return
            self._safely(_forget)
            self.mode = "offline"
        if self.mode == "offline":
            self._safely(self._open)

    def log(self, record: Mapping[str, Any]) -> None:
        """Send an epoch's line of history."""
        present = {key: value for key, value in record.items() if value is not None}
        self._safely(lambda: self._run and self._run.log(present, step=record["epoch"]))

    def finish(self, summary: Mapping[str, Any], class_names: tuple[str, ...]) -> str | None:
        """Send the result, end the run, and tell where it is to be found."""
        place: str | None = self._safely(
            lambda: self._run and self._close(self._run, summary, class_names)
        )
        return place

    def _open(self) -> None:
        tracking = self.tracking
        for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            os.environ[variable] = str(self.folder.absolute() / "wandb")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        wandb.util.pd_available = False  # else it imports pandas to tell a table from a data frame
        if not hasattr(wandb.util.working_set, "cache_info"):
            # else each run of a process looks at all installed packages again
            once = lru_cache(lambda look=wandb.util.working_set: list(look()))
            wandb.util.working_set = once
        timeout = float(os.environ.get("WANDB_INIT_TIMEOUT", "30"))
        self._run = wandb.init(
            mode=self.mode,  # type: ignore[arg-type]  # wandb lists the words as literals
            dir=self.folder,
            project=tracking.project or os.environ.get("WANDB_PROJECT", "nn-sweeps"),
            entity=tracking.entity,
            name=tracking.name,
            group=tracking.group,
            job_type=tracking.job_type,
            tags=tracking.tags or None,
            notes=tracking.notes,
            config=self.config,
            id=self.id,
            resume="allow" if self.resumed else None,
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off", init_timeout=timeout),
        )
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def _close(self, run: Run, summary: Mapping[str, Any], class_names: tuple[str, ...]) -> str:
        import wandb

        confusion = summary["confusion_matrix"]
        if confusion:
            cells = [
                [class_names[truth], class_names[predicted], count]
                for truth, counts in enumerate(confusion)
                for predicted, count in enumerate(counts)
            ]
            columns = ["Actual", "Predicted", "nPredictions"]
            table = wandb.Table(columns=[*columns], data=cells)
            chart = wandb.plot_table(
                "wandb/confusion_matrix/v1",
                table,
                {column: column for column in columns},
                {"title": "Confusion matrix"},
            )
            run.log({"confusion_matrix": chart})
        run.summary.update({k: v for k, v in summary.items() if k != "confusion_matrix"})
        if self.mode == "online":
            place = f"W&B: {run.url}"
        else:
            place = f"W&B: offline; to upload the run: wandb sync {short(run.settings.sync_dir)}"
        code = 0 if summary["status"] in ("finished", "pruned") else 1
        ended = Thread(target=run.finish, args=(code,), daemon=True)
        ended.start()
        ended.join(MOMENT if summary["status"] == "interrupted" else None)
        return place

    def _safely(self, call: Callable[[], Any], then: str = "is left out of the rest") -> Any:
        try:
            return call()
        except Exception as error:
            self._run = None
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            print(
                f"W&B failed and {then}; the run folder has everything: {reason}", file=sys.stderr
            )


def _forget() -> None:
    """Let go of an attempt that failed, which still holds the run's name."""
    import wandb

    wandb.teardown()


def mirrored(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give a configuration the form that a W&B sweep cannot damage.

    A sweep sets knobs and chosen options: these stand at the top as plain values. The settings
    of the options are nested under one key of their own.
    """
    groups = {group for group in config["choices"] if group in config}
    return {
        **{knob: config[knob] for knob in KNOBS},
        **config["choices"],
        "settings": {group: config[group] for group in sorted(groups)},
    }


def _credentials() -> bool:
    """Find an API key where wandb looks for one, without importing it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
        return netrc.netrc(path).authenticators(host) is not None
    except (OSError, ValueError, netrc.NetrcParseError):
        return False
