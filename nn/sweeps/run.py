"""A sweep from its file to its result."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nn.errors import Mistake
from nn.interrupts import Stopped, interruptible
from nn.sweeps import lint, schema
from nn.sweeps.engine import Engine, crew
from nn.sweeps.schema import Sweep
from nn.sweeps.screen import SweepScreen, say
from nn.sweeps.search import Search
from nn.sweeps.shared import Shared
from nn.sweeps.storage import shown, storage
from nn.sweeps.wanted import Wanted, agreed
from nn.tracking.files import lock, write_whole
from nn.tracking.places import short
from nn.tracking.plain import to_json


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


def run(wanted: Wanted) -> None:
    """Run a sweep, or go on with one."""
    sweep = schema.read(wanted.file)
    seed, sampler, overrides = agreed(wanted, sweep)
    before, after = sweep.fixed_words
    tracked = ["tracking=offline", f"tracking.group={wanted.name}", *before]
    after = [*after, *overrides]
    with (
        interruptible() as interrupts,
        crew(wanted.workers) as workers,
    ):  # which start while this one checks
        for sentence in lint.warnings(wanted.file):
            say(f"{wanted.file}: {sentence}")
        for sentence in lint.mistakes(wanted.file, overrides):
            raise Mistake(f"{wanted.file}: {sentence}")
        shared = _shared(wanted, sweep, seed, sampler)
        if shared:
            shared.storage.waiting = interrupts.let_in
        with _held(wanted, seed, sampler), SweepScreen() as screen:
            trials = Search(sweep, wanted.folder, seed, sampler, shared)
            count = wanted.count or sweep.run_cap
            engine = Engine(trials, workers, count, (tracked, after), screen, interrupts)
            try:
                engine.go()
            except Stopped:
                again = f"python scripts/sweep.py {wanted.file} --output {short(wanted.folder)}"
                again = "the same command" if shared else f"{again} --resume"
                say(f"\nStopped. To go on: {again}")
                raise
            finally:
                trials.release()
                trials.write_table()
                trials.write_study()
    screen.result(trials, (before, after), engine.reason)


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
    """Hold the sweep's folder, and write down what it is about if it is new."""
    folder = wanted.folder
    try:
        folder.mkdir(parents=True, exist_ok=wanted.resume or wanted.storage is not None)
        # machines that share the study may share the folder too
        held = None if wanted.storage else lock(folder / ".lock", "at work on this sweep")
        if not (folder / "sweep.yaml").exists():
            settings = {"seed": seed, "sampler": sampler, "overrides": wanted.overrides}
            write_whole(folder / "settings.json", json.dumps(settings).encode())
            write_whole(folder / "sweep.yaml", wanted.file.read_bytes())
    except OSError as error:
        raise Mistake(f"{short(folder)}: nothing can be written there: {error.strerror}.") from None
    try:
        yield
    finally:
        if held is not None:
            os.close(held)
