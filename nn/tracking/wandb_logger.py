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

from nn.config.knobs import KNOBS
from nn.errors import NotSaved
from nn.io.paths import short
from nn.predictions import Predictions
from nn.tracking.agent import BELONGING, run_id
from nn.tracking.media import Media
from nn.tracking.settings import Tracking, has_credentials

if TYPE_CHECKING:
    from wandb import Run

MOMENT = 1.0
"""Seconds that W&B may take to answer, and then to be told of an end by a signal."""
LONG_MOMENT = 5.0
"""The same where W&B is surely there, since it or its agent has sent the signal."""
QUIET = 3.0
"""Seconds to wait for W&B at the end before it is said what for."""
GIVING_UP = 20.0
"""Seconds that it may take to give up on W&B and begin an offline run in its place."""
ARRIVAL = 20.0
"""Seconds that W&B may take to show what has been uploaded."""
FILES = {"config.yaml": "settings.yaml", "environment.json": "environment.json"}
"""Files of a run folder that go along, and their names there; W&B has a config.yaml of its own."""
STOPPED = 255
"""The exit code that W&B shows as killed, not as failed."""


class Mirror:
    """One run in W&B."""

    def __init__(
        self,
        tracking: Tracking,
        folder: Path,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        names: Sequence[str],
    ) -> None:
        self.tracking, self.config, self.names = tracking, config, names
        self.folder, self.environment = folder, environment
        self.id, self.mode = run_id(environment), tracking.mode_here
        self._run: Run | None = None
        self._lost = self._warned = self._stopped = self._ended = self._abandoned = False
        self._deadline = 0.0
        self._connected, self._sender = Event(), Thread()
        self._calls: SimpleQueue[Callable[[Run], None] | None] = SimpleQueue()

    def open(self, begun: Iterable[Mapping[str, Any]] = (), resume: bool = False) -> None:
        """Begin the run in W&B; if it cannot be reached, in a file to be uploaded later.

        W&B is connected to while the training runs. What had begun before is sent as far as W&B
        does not have it.
        """
        self._lost = self.mode == "disabled"
        if self._lost:
            return
        self._set_environment(self.folder)
        self._deadline = time.monotonic() + _init_timeout()
        self._calls.put(lambda run: self._catch_up(run, begun))
        if self.mode == "offline" or not has_credentials():  # for which wandb asks on a terminal
            self._guard(partial(self._connect, resume))
        if not self._lost:
            send = partial(self._guard, partial(self._send, resume))
            self._sender = Thread(target=send, daemon=True)
            self._sender.start()

    def log(self, record: Mapping[str, Any]) -> None:
        """Send an epoch's line of history, as soon as what came before is sent."""
        if not self._lost:
            self._calls.put(lambda run: self._log(run, record))

    def finish(self, summary: Mapping[str, Any], predictions: Predictions | None) -> str | None:
        """Send the result, end the run, and tell where it is to be found."""
        self._ended = True
        if self._lost or not self._sender.ident:  # a signal may come before it is started
            return None
        self._calls.put(lambda run: self._close(run, summary, predictions))
        self._calls.put(None)
        try:
            if summary["status"] == "interrupted":
                near = self._stopped or "WANDB_SWEEP_ID" in self._belongs
                moment = LONG_MOMENT if near else MOMENT
                self._connected.wait(moment)
                self._sender.join(moment if self._run else 0)
            else:
                self._wait()
        finally:
            self._abandoned = self._sender.is_alive()
        return self._place(self._run) if self._run else None

    @property
    def hangs_at_exit(self) -> bool:
        """Whether wandb would wait for a server that does not answer when the process exits."""
        return self._abandoned and not self._run

    def _wait(self) -> None:
        """Wait until W&B has everything, for as long as it may take, and say so if that is long."""
        if not self._connected.wait(QUIET):
            seconds = max(0.0, self._deadline - time.monotonic())
            with suppress(OSError):
                print(
                    f"Waiting for W&B to answer, for {seconds:.0f} s at the most; "
                    "then the run stays offline.",
                    flush=True,
                )
        self._connected.wait(max(0.0, self._deadline - time.monotonic()) + GIVING_UP)
        self._sender.join(self.tracking.wait + MOMENT)
        if self._sender.is_alive():
            self._warn(f"not done within {self.tracking.wait:g} s", self._remedy)

    def copy(
        self,
        history: Sequence[Mapping[str, Any]],
        summary: Mapping[str, Any],
        predictions: Predictions | None,
        aside: Path,
    ) -> str:
        """Make a whole run in W&B of one that has ended; whatever goes wrong is an error.

        A run of the same id is written anew. What wandb needs meanwhile is put aside.
        """
        self._set_environment(aside)
        run = self._open(aside)
        for record in history:
            self._log(run, record)
        missing = {"status": "crashed", "epochs": len(history)}
        self._close(run, summary or missing, predictions)
        if history:
            _wait_for(run.path, history[-1]["epoch"])
        return str(run.url)

    def _set_environment(self, place: Path) -> None:
        for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            os.environ[variable] = str(place.absolute() / "wandb")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        for name, value in self._belongs.items():
            os.environ.setdefault(name, value)

    def _connect(self, resume: bool) -> Run:
        """Begin the run in W&B, or offline if that fails."""
        try:
            if self.mode == "online":
                try:
                    self._run = self._open(self.folder, resume)
                    return self._run
                except Exception as error:
                    if self._abandoned:
                        raise
                    self._warn(_reason(error), "the run stays offline")
                    _let_go()
                    self.mode = "offline"
            for left in self.folder.glob("wandb/offline-run-*"):
                rmtree(left, ignore_errors=True)
            self._run = self._open(self.folder)
            return self._run
        finally:
            self._connected.set()

    def _open(self, place: Path, resume: bool = False) -> Run:
        tracking, wandb = self.tracking, _wandb()
        run: Run = wandb.init(
            mode=self.mode,
            dir=place,
            project=tracking.project or os.environ.get("WANDB_PROJECT", "nn-sweeps"),
            entity=tracking.entity,
            name=tracking.name,
            group=tracking.group,
            job_type=tracking.job_type,
            tags=tracking.tags or None,
            notes=tracking.notes,
            config=mirrored(self.config) | self.environment.get("swept", {}),
            id=self.id,
            resume="allow" if resume else None,
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off",
                git_commit=self.environment.get("git", {}).get("commit"),
                init_timeout=_init_timeout(),
                finish_timeout=tracking.wait,
                finish_timeout_raises=True,
                stop_fn=lambda: self._stop(),  # wandb copies deeply what this belongs to
            ),
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        for name, there in FILES.items():
            copied = copyfile(self.folder / name, Path(run.dir) / there)
            run.save(copied, run.dir, "end")
        return run

    def _stop(self) -> None:
        """End the training, as someone has asked for in W&B, unless it has ended."""
        if not self._ended:
            self._stopped = True
            os.kill(os.getpid(), signal.SIGTERM)

    def _send(self, resume: bool) -> None:
        """Connect, then do what is asked for in its turn, while the training runs."""
        run = self._run or self._connect(resume)
        while call := self._calls.get():
            self._insist(partial(call, run))

    def _insist(self, call: Callable[[], None]) -> None:
        """Do something that a server which is away for a while may refuse at first."""
        until = time.monotonic() + self.tracking.wait
        while True:
            try:
                return call()
            except _wandb().Error:
                if self.mode == "offline" or time.monotonic() > until:
                    raise
            time.sleep(1)

    def _catch_up(self, run: Run, begun: Iterable[Mapping[str, Any]]) -> None:
        """Send what W&B does not have yet."""
        has = run.step
        for record in begun:
            if record["epoch"] >= has:
                self._log(run, record)

    def _log(self, run: Run, record: Mapping[str, Any]) -> None:
        run.log(self._media.history(record), step=record["epoch"])

    def _close(self, run: Run, summary: Mapping[str, Any], predictions: Predictions | None) -> None:
        """Send what there is at the end, as a part of the last epoch's line."""
        shown = self._media.result(summary, predictions, self.tracking.images)
        if shown:
            run.log(shown, step=summary["epochs"])
        aside = ("confusion_matrix", "class_names")
        run.summary.update({key: value for key, value in summary.items() if key not in aside})
        if self.tracking.artifacts and summary["status"] == "finished":
            best = self.config["keep"] == "best"
            file = self.folder / "checkpoints" / f"{'best' if best else 'last'}.safetensors"
            scores = {key: value for key, value in summary.items() if isinstance(value, float)}
            about = {"config": mirrored(self.config), **scores}
            model = self._media.model(f"model-{run.id}", file, about)
            run.log_artifact(model, aliases=["latest", "best"] if best else ["latest"])
        if summary["status"] == "interrupted" and self.tracking.preemptible:
            run.mark_preempting()
        run.finish(self._exit_code(summary["status"]))

    @property
    def _media(self) -> Media:
        return Media(_wandb(), self.names)

    @property
    def _belongs(self) -> dict[str, str]:
        """What W&B's variables said when the run began, of a sweep agent above all."""
        given = self.environment.get("belongs", {})
        known = {name: str(given[name]) for name in BELONGING if name in given}
        # in a sweep wandb takes the run's id from nowhere else
        return known | ({"WANDB_RUN_ID": self.id} if "WANDB_SWEEP_ID" in known else {})

    def _exit_code(self, status: str) -> int:
        """Say it as W&B understands it; a sweep is to learn from what diverged, too."""
        if status == "interrupted":
            return STOPPED
        fine = status in ("finished", "pruned")
        return 0 if fine or (status == "diverged" and "WANDB_SWEEP_ID" in self._belongs) else 1

    @property
    def _remedy(self) -> str:
        return f"python scripts/upload.py {short(self.folder)} uploads it"

    def _place(self, run: Run) -> str:
        if self.mode == "online":
            return f"W&B: {run.url}"
        return f"W&B: offline; to upload the run: wandb sync {short(run.settings.sync_dir)}"

    def _guard(self, call: Callable[[], object]) -> None:
        """Do something with W&B; if that fails, let go of the run there."""
        try:
            call()
        except Exception as error:
            self._lost = True
            self._warn(_reason(error), self._remedy)

    def _warn(self, reason: str, remedy: str) -> None:
        if not (self._warned or self._abandoned):
            self._warned = True
            told = f"W&B failed ({reason}); the run folder has everything, and {remedy}."
            with suppress(OSError):
                print(told, file=sys.stderr)


def _wandb() -> Any:
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
        logger.addHandler = partial(_add_quietly, logger)  # type: ignore[method-assign]
    return wandb


def _add_quietly(logger: logging.Logger, handler: logging.Handler) -> None:
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    logging.Logger.addHandler(logger, handler)


def _wait_for(path: str, epoch: int) -> None:
    """Wait until W&B shows a run's last epoch; what it refuses, its client does not tell."""
    until = time.monotonic() + ARRIVAL
    while _wandb().Api().run(path).lastHistoryStep < epoch:
        if time.monotonic() > until:
            raise NotSaved(f"W&B does not show epoch {epoch} of {path}")
        time.sleep(1)


def report_refusal(sentence: str) -> None:
    """Tell why a sweep agent's trial cannot begin, W&B too, so that it counts as failed there."""
    run = None
    with TemporaryDirectory() as aside:
        os.environ |= {"WANDB_DATA_DIR": aside, "WANDB_SILENT": "true"}
        settings = {"init_timeout": 30.0, "finish_timeout": 30.0}
        with suppress(Exception):
            run = _wandb().init(dir=aside, resume="allow", settings=settings)
        print(sentence, file=sys.stderr)  # which W&B takes into its log
        if run:
            with suppress(Exception):
                run.summary.update({"status": "refused", "reason": sentence})
                run.finish(2)


def _let_go() -> None:
    """Let go of an attempt that failed, which still holds the run's name."""
    with suppress(Exception, SystemExit):
        _wandb().teardown()


def _init_timeout() -> float:
    """Seconds that W&B may take to answer at first."""
    try:
        return float(os.environ["WANDB_INIT_TIMEOUT"])
    except (KeyError, ValueError):
        return 30.0


def _reason(error: Exception) -> str:
    from pydantic import ValidationError  # which training does not need

    if isinstance(error, ValidationError):  # of wandb's settings
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


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
