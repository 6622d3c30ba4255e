"""Run or check a sweep: the functions behind `scripts/sweep.py`."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nn.config.overrides import quote
from nn.config.search_path import set_config_dir
from nn.errors import SweepError, UserError
from nn.io.command_line import format_command
from nn.io.files import acquire_lock, atomic_write
from nn.io.paths import relpath
from nn.io.serialization import to_json
from nn.runs.signals import BoundedSignalHandler, SignalInterrupt, install_signal_handler
from nn.sweeps import lint, schema
from nn.sweeps.console import SweepConsole, print_to_stderr
from nn.sweeps.edit import MACHINE_KEYS, SweepEdit, describe_changes
from nn.sweeps.editions import Edition
from nn.sweeps.options import (
    SweepOptions,
    SweepSettings,
    check_replicates,
    check_scheduler,
    parse_constants,
    resolve_options,
)
from nn.sweeps.runner import SweepRunner
from nn.sweeps.samplers.gp.objective import PriorTask
from nn.sweeps.schema import SweepConfig
from nn.sweeps.shared_study import OPTION_KEYS, PRIOR_TRIALS_KEY, SharedStudy
from nn.sweeps.space import SearchSpace
from nn.sweeps.storage import STUDY_FILES, open_storage, redact_url
from nn.sweeps.study import Budget, SweepStudy
from nn.sweeps.sweep_file import parse_yaml, read_sweep_text
from nn.sweeps.warm_start import (
    WARM_START_FILE,
    dump_prior_tasks,
    load_prior_tasks,
    read_prior_tasks,
    summarize_prior_tasks,
)
from nn.sweeps.worker_pool import WorkerPool


def check_sweep(options: SweepOptions) -> int:
    """Print everything that is wrong with a sweep file and return the exit status."""
    sweep_file, sweep = options.sweep_file, None
    with suppress(UserError):  # which is reported below
        sweep = schema.read_sweep_config(sweep_file)
    set_config_dir(options.config_dir or (sweep.config_dir if sweep else None))
    for message in lint.find_warnings(sweep_file):
        print_to_stderr(f"{sweep_file}: {message}")
    errors = lint.find_errors(sweep_file, options.overrides)
    errors = [f"{sweep_file}: {message}" for message in errors]
    if sweep:
        try:
            check_replicates(options, options.replicates or 1, sweep)
            check_scheduler(options.scheduler, sweep)
            if not errors:
                constants = parse_constants(options.overrides, sweep)
                _check_epochs(
                    options.scheduler,
                    Edition(
                        sweep_file=read_sweep_text(sweep_file),
                        sampler=options.sampler,
                        overrides=options.overrides,
                        constants=constants,
                    ),
                )
        except UserError as error:
            errors.append(str(error))
    for message in errors:
        print_to_stderr(message)
    if not errors:
        print(f"{sweep_file}: no problems found.")
    return 2 if errors else 0


def run_sweep(options: SweepOptions) -> int:
    """Start or resume a sweep, run it to its end and return the exit status."""
    sweep = schema.read_sweep_config(options.sweep_file)
    settings, saved_settings = resolve_options(options, sweep)
    set_config_dir(None if settings.config_dir is None else Path(settings.config_dir))
    edition, saved_edition = _create_edition(options.sweep_file, settings), None
    if saved_settings:
        saved_edition = _create_edition(options.sweep_dir / "sweep.yaml", saved_settings)
    # the study is opened as this machine knows it, and then edited
    first_edition = saved_edition or edition
    if describe_changes(first_edition, edition).keys() <= {*MACHINE_KEYS}:
        first_edition = edition
    with (
        install_signal_handler(BoundedSignalHandler()) as signal_handler,
        WorkerPool(options.num_workers, signal_handler) as pool,
    ):
        if not options.sweep_dir.exists():  # workers start while this process checks the file
            is_grid = edition.sweep.method == "grid"
            grid_size = SearchSpace(edition.sweep.parameters).num_points if is_grid else math.inf
            num_points = min(options.max_trials or math.inf, grid_size)
            run_cap = (None if options.max_trials else edition.sweep.run_cap) or math.inf
            num_trials = min(num_points * settings.replicates, run_cap)
            pool.start_workers(min(num_trials, options.num_workers))
        for message in lint.find_warnings(options.sweep_file):
            print_to_stderr(f"{options.sweep_file}: {message}")
        for message in lint.find_errors(options.sweep_file, settings.overrides):
            raise UserError(f"{options.sweep_file}: {message}")
        _check_epochs(settings.scheduler, first_edition)
        prior_tasks = _load_prior_tasks(options, first_edition.sweep, settings)
        shared_study = signal_handler.run_in_thread(
            lambda: _open_shared_study(options, first_edition, settings, prior_tasks)
        )
        with _locked_sweep_dir(options, settings, prior_tasks), SweepConsole() as console:
            with signal_handler.defer_signals():
                study = _open_study(
                    options, first_edition, settings, prior_tasks, shared_study, signal_handler
                )
                study_edit = SweepEdit(study, str(options.sweep_file), edition, saved_edition)
                study.storage.retry(
                    lambda: study_edit.apply(print_to_stderr, is_allowed=options.resume)
                )
                settings = study.storage.retry(
                    lambda: study_edit.apply_replicates(options, settings, print_to_stderr)
                )
                if options.resume:
                    study.resume()
            try:
                with suppress(OSError):  # only reports need it
                    _write_settings(options, settings)  # resumed with another --count
                runner = SweepRunner(
                    study,
                    pool,
                    console,
                    signal_handler,
                    budget=Budget(max_points=options.max_trials, max_epochs=options.epochs_budget),
                    timeout_seconds=options.timeout_seconds,
                    first_edition=first_edition,
                    tracking_overrides=[
                        "tracking=offline",
                        f"tracking.group={quote(options.name)}",
                    ],
                )
                runner.run()
            except SignalInterrupt:
                signal_handler.acknowledge_interrupt()
                pool.shutdown()  # workers save their trials while this process closes the study
                with suppress(OSError):  # the terminal may have gone away
                    print_to_stderr(f"\nStopped. To resume: {_format_resume_command(options)}")
                with suppress(Exception):
                    _close_study(study)
                raise
            except OSError as error:
                _close_study(study)
                raise SweepError(f"{relpath(options.sweep_dir)}: {error.strerror}.") from None
            except BaseException:
                _close_study(study)
                raise
            is_saved = _close_study(study)
    flags = [] if settings.config_dir is None else ["--config-dir", settings.config_dir]
    console.print_sweep_result(study, first_edition.fixed_overrides, runner.stop_reason, flags)
    return 1 if study.failed_trials or not is_saved else 0


def _check_epochs(scheduler: str | None, edition: Edition) -> None:
    """Raise `UserError` if trials have too few epochs to be divided by a scheduler."""
    if scheduler and edition.compose_example().epochs == 1:
        raise UserError(
            f"--scheduler={scheduler}: with epochs=1 there is nothing to share; write epochs=30 "
            "after the file, or leave the scheduler out."
        )


def _create_edition(sweep_file: Path, settings: SweepSettings) -> Edition:
    """Create the edition of a sweep file and the settings of its sweep."""
    return Edition(
        sweep_file=read_sweep_text(sweep_file),
        sampler=settings.sampler,
        overrides=settings.overrides,
        constants=settings.constants,
    )


def _open_study(
    options: SweepOptions,
    edition: Edition,
    settings: SweepSettings,
    prior_tasks: tuple[PriorTask, ...],
    shared_study: SharedStudy | None,
    signal_handler: BoundedSignalHandler,
) -> SweepStudy:
    """Open the study in a thread, so that signals are handled even if disk or database hang."""

    def open_study() -> SweepStudy:
        return SweepStudy(
            edition.sweep,
            options.sweep_dir,
            settings.seed,
            sampler=edition.sampler,
            num_epochs=edition.compose_example().epochs,
            pauses=settings.scheduler is not None,
            prior_tasks=prior_tasks,
            shared_study=shared_study,
            notify=print_to_stderr,
        )

    if shared_study:
        shared_study.storage.signal_handler = signal_handler
        return shared_study.storage.retry(open_study)
    try:
        study = signal_handler.run_in_thread(open_study)
    except OSError as error:
        reason = f"the study cannot be stored there: {error.strerror}"
        raise UserError(f"{relpath(options.sweep_dir)}: {reason}.") from None
    study.storage.signal_handler = signal_handler
    return study


def _close_study(study: SweepStudy) -> bool:
    """Release this machine's trials, write trials.csv and study.log; return whether it worked."""
    study.release_trials()
    try:
        study.write_trials_csv()
        study.export_journal()
    except TimeoutError:  # the storage hangs, and a sweep that is stopping does not wait for it
        return False
    except OSError as error:
        reason = error.strerror or error
        print_to_stderr(
            f"{relpath(study.sweep_dir)}: trials.csv and study.log cannot be written: {reason}."
        )
        return False
    return True


def _open_shared_study(
    options: SweepOptions,
    edition: Edition,
    settings: SweepSettings,
    prior_tasks: tuple[PriorTask, ...],
) -> SharedStudy | None:
    """Open the storage of `--storage`, if it is given."""
    if options.storage is None:
        return None
    sweep_config = json.loads(to_json(parse_yaml(edition.sweep_file, options.sweep_file)))
    sweep_config |= settings.model_dump(mode="json", include=set(OPTION_KEYS))
    sweep_config |= {"sampler": edition.sampler, "overrides": [*edition.overrides]}
    sweep_config[PRIOR_TRIALS_KEY] = summarize_prior_tasks(prior_tasks)
    sweep_config.pop("run_cap", None)  # which may be raised later
    storage = open_storage(options.storage)
    return SharedStudy(
        storage, redact_url(options.storage), options.name, sweep_config, options.grace_seconds
    )


def _load_prior_tasks(
    options: SweepOptions, sweep: SweepConfig, settings: SweepSettings
) -> tuple[PriorTask, ...]:
    """Load the trials of `--warm-start`; those of a sweep to resume are in its own directory."""
    if not settings.warm_start or sweep.metric is None:
        return ()
    if (options.sweep_dir / "sweep.yaml").exists():
        return read_prior_tasks(options.sweep_dir)
    paths, space = [*map(Path, settings.warm_start)], SearchSpace(sweep.parameters)
    prior_tasks = load_prior_tasks(paths, space, sweep.metric)
    num_trials = sum(len(task.values) for task in prior_tasks)
    tasks = "1 task" if len(prior_tasks) == 1 else f"{len(prior_tasks)} tasks"
    print(f"Warm start: {num_trials} earlier trials of {tasks}.", flush=True)
    return prior_tasks


@contextmanager
def _locked_sweep_dir(
    options: SweepOptions, settings: SweepSettings, prior_tasks: tuple[PriorTask, ...]
) -> Iterator[None]:
    """Lock the sweep directory; if the sweep is new, create it with its files.

    A new sweep that fails to start leaves no files behind.
    """
    sweep_dir, lock_fd = options.sweep_dir, None
    is_new = not (sweep_dir / "sweep.yaml").exists()
    created_dirs = [path for path in (sweep_dir, *sweep_dir.parents) if not path.exists()]
    try:
        try:
            sweep_dir.mkdir(parents=True, exist_ok=True)
            if not options.storage:  # machines that share the study may share the directory too
                lock_fd = acquire_lock(sweep_dir / ".lock", "running this sweep")
            if is_new:
                if prior_tasks:
                    atomic_write(sweep_dir / WARM_START_FILE, dump_prior_tasks(prior_tasks))
                _write_settings(options, settings)
                atomic_write(sweep_dir / "sweep.yaml", options.sweep_file.read_bytes())
        except OSError as error:
            reason = f"nothing can be written there: {error.strerror}"
            raise UserError(f"{relpath(sweep_dir)}: {reason}.") from None
        yield
    except UserError:
        if is_new and not (sweep_dir / "trials").exists():
            _remove_sweep_dir(sweep_dir, created_dirs)
        raise
    finally:
        if lock_fd is not None:
            os.close(lock_fd)


def _write_settings(options: SweepOptions, settings: SweepSettings) -> None:
    content = settings.to_json(options.storage, options.name, options.max_trials)
    atomic_write(options.sweep_dir / "settings.json", content.encode())


def _remove_sweep_dir(sweep_dir: Path, created_dirs: Sequence[Path]) -> None:
    """Remove the files of a sweep that failed to start and the directories created for it."""
    for name in (".lock", WARM_START_FILE, "settings.json", "sweep.yaml", *STUDY_FILES):
        with suppress(OSError):
            (sweep_dir / name).unlink()
    for path in created_dirs:
        with suppress(OSError):
            path.rmdir()


def _format_resume_command(options: SweepOptions) -> str:
    """Return the command that resumes this sweep: the present one, with `--resume` if needed."""
    arguments = sys.argv[1:]
    if not (options.resume or options.storage):
        arguments.insert(arguments.index("--") if "--" in arguments else len(arguments), "--resume")
    return format_command("sweep", *arguments)
