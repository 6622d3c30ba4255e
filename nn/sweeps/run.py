"""A sweep from its file to its result."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nn.errors import Mistake, SweepError
from nn.io.files import lock, write_whole
from nn.io.paths import short
from nn.io.serialization import to_json
from nn.runs.signals import BoundedInterrupts, Stopped, handled_by
from nn.sweeps import lint, schema
from nn.sweeps.console import SweepScreen, say
from nn.sweeps.options import Wanted, agreed
from nn.sweeps.runner import Engine, worker_pool
from nn.sweeps.schema import Sweep
from nn.sweeps.shared import Shared
from nn.sweeps.space import Space, quoted
from nn.sweeps.storage import STUDY_FILES, shown, storage
from nn.sweeps.study import Search


def check(file: Path, overrides: Sequence[str]) -> int:
    """Tell everything that is wrong with a sweep file, and give the exit status."""
    for sentence in lint.warnings(file):
        say(f"{file}: {sentence}")
    mistakes = lint.mistakes(file, overrides)
    for sentence in mistakes:
        say(f"{file}: {sentence}")
    if not mistakes:
        print(f"{file} is sound.")
    return 2 if mistakes else 0


def run(wanted: Wanted) -> int:
    """Run a sweep, or go on with one, and give the exit status."""
    sweep = schema.read(wanted.file)
    seed, sampler, overrides = agreed(wanted, sweep)
    before, after = sweep.fixed_words
    tracked = ["tracking=offline", f"tracking.group={quoted(wanted.name)}", *before]
    after = [*after, *overrides]
    count = wanted.count or sweep.run_cap
    with (
        handled_by(BoundedInterrupts()) as interrupts,
        worker_pool(wanted.workers, interrupts) as pool,
    ):
        if not wanted.folder.exists():  # workers start while this process checks
            grid_size = Space(sweep.parameters).size if sweep.method == "grid" else math.inf
            pool.start(min(count or wanted.workers, grid_size, wanted.workers))
        for sentence in lint.warnings(wanted.file):
            say(f"{wanted.file}: {sentence}")
        for sentence in lint.mistakes(wanted.file, overrides):
            raise Mistake(f"{wanted.file}: {sentence}")
        shared = interrupts.call(lambda: _shared(wanted, sweep, seed, sampler))
        with _held(wanted, seed, sampler), SweepScreen() as screen:
            trials = _search(wanted, sweep, seed, sampler, shared, interrupts)
            try:
                engine = Engine(trials, pool, count, (tracked, after), screen, interrupts)
                engine.go()
            except Stopped:
                pool.dismiss()  # workers save while this process writes what is left to be written
                with suppress(OSError):  # to a terminal that may be what has gone away
                    say(f"\nStopped. To resume: {_resume_command(wanted)}")
                with suppress(Exception):
                    _leave(trials)
                raise
            except OSError as error:
                _leave(trials)
                raise SweepError(f"{short(wanted.folder)}: {error.strerror}.") from None
            except BaseException:
                _leave(trials)
                raise
            is_complete = _leave(trials)
    screen.result(trials, (before, after), engine.reason)
    return 1 if trials.failed or not is_complete else 0


def _search(
    wanted: Wanted,
    sweep: Sweep,
    seed: int,
    sampler: str | None,
    shared: Shared | None,
    interrupts: BoundedInterrupts,
) -> Search:
    """Open the study, on a disk or in a database that may hang."""

    def search() -> Search:
        return Search(sweep, wanted.folder, seed, sampler, shared, say)

    if shared:
        shared.storage.interrupts = interrupts
        return shared.storage.patiently(search)
    try:
        trials = interrupts.call(search)
    except OSError as error:
        reason = f"the study cannot be kept there: {error.strerror}"
        raise Mistake(f"{short(wanted.folder)}: {reason}.") from None
    trials.storage.interrupts = interrupts
    return trials


def _leave(trials: Search) -> bool:
    """Release what others may take up, and write the files for people; say if that succeeds."""
    trials.release()
    try:
        trials.write_table()
        trials.write_study()
    except TimeoutError:  # the storage hangs, and a stop does not wait for it
        return False
    except OSError as error:
        reason = error.strerror or error
        say(f"{short(trials.folder)}: trials.csv and study.log cannot be written: {reason}.")
        return False
    return True


def _shared(wanted: Wanted, sweep: Sweep, seed: int, sampler: str | None) -> Shared | None:
    """Open the storage that machines share, if that is wanted."""
    if wanted.storage is None:
        return None
    about = {
        **json.loads(to_json(schema.raw(wanted.file))),
        "seed": seed,
        "sampler": sampler,
        "overrides": list(wanted.overrides),
    }
    about.pop("run_cap", None)
    opened = storage(wanted.storage)
    return Shared(opened, shown(wanted.storage), wanted.name, about, wanted.grace)


@contextmanager
def _held(wanted: Wanted, seed: int, sampler: str | None) -> Iterator[None]:
    """Hold the sweep's folder, and write what the sweep is about if it is new.

    Where a new sweep cannot begin, nothing of it is left.
    """
    folder, held = wanted.folder, None
    is_new = not (folder / "sweep.yaml").exists()
    created = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # machines that share the study may share the folder too
            held = None if wanted.storage else lock(folder / ".lock", "at work on this sweep")
            if is_new:
                settings = {"seed": seed, "sampler": sampler, "overrides": wanted.overrides}
                write_whole(folder / "settings.json", json.dumps(settings).encode())
                write_whole(folder / "sweep.yaml", wanted.file.read_bytes())
        except OSError as error:
            reason = f"nothing can be written there: {error.strerror}"
            raise Mistake(f"{short(folder)}: {reason}.") from None
        yield
    except Mistake:
        if is_new and not (folder / "trials").exists():
            _remove(folder, created)
        raise
    finally:
        if held is not None:
            os.close(held)


def _remove(folder: Path, created: Sequence[Path]) -> None:
    """Remove the files of a sweep that did not begin, and the folders made for it."""
    for name in (".lock", "settings.json", "sweep.yaml", *STUDY_FILES):
        with suppress(OSError):
            (folder / name).unlink()
    for place in created:
        with suppress(OSError):
            place.rmdir()


def _resume_command(wanted: Wanted) -> str:
    """Return the command line that continues this sweep, with all of its options."""
    words = ["python", short(sys.argv[0]), *sys.argv[1:]]
    if not (wanted.resume or wanted.storage):
        words.insert(words.index("--") if "--" in words else len(words), "--resume")
    return shlex.join(words)
