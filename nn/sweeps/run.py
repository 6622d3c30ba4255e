"""A sweep from its file to its result."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nn.errors import Mistake
from nn.interrupts import Stopped, interruptible
from nn.sweeps import lint, samplers, schema
from nn.sweeps.engine import Engine, crew
from nn.sweeps.schema import Sweep
from nn.sweeps.screen import SweepScreen, say
from nn.sweeps.trials import Trials
from nn.tracking.files import lock, read_plain, write_whole
from nn.tracking.places import short


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    file: Path
    count: int | None
    workers: int
    seed: int | None
    sampler: str | None
    name: str
    folder: Path
    resume: bool
    overrides: tuple[str, ...]


def check(file: Path, overrides: Sequence[str]) -> int:
    """Tell everything that is wrong with a sweep file, and give the exit status."""
    content = schema.raw(file)
    for sentence in lint.warnings(file):
        say(f"{file}: {sentence}")
    mistakes = schema.problems(content)
    if not mistakes:
        mistakes = list(lint.mistakes(schema.parse(content, file), overrides))
    for sentence in mistakes:
        say(f"{file}: {sentence}")
    if not mistakes:
        print(f"{file} is sound.")
    return 2 if mistakes else 0


def run(wanted: Wanted) -> None:
    """Run a sweep, or go on with one."""
    sweep = schema.read(wanted.file)
    seed, sampler, overrides = _agreed(wanted, sweep)
    before, after = sweep.fixed_words
    tracked = ["tracking=offline", f"tracking.group={wanted.name}", *before]
    after = [*after, *overrides]
    with interruptible(), crew(wanted.workers) as workers:  # which start while this one checks
        for sentence in lint.warnings(wanted.file):
            say(f"{wanted.file}: {sentence}")
        for sentence in lint.mistakes(sweep, overrides):
            raise Mistake(f"{wanted.file}: {sentence}")
        with _held(wanted, seed, sampler), SweepScreen() as screen:
            trials = Trials(sweep, wanted.folder, seed, sampler)
            count = wanted.count or sweep.run_cap
            engine = Engine(trials, workers, count, (tracked, after), screen)
            try:
                engine.go()
            except Stopped:
                place = f"--output {short(wanted.folder)} --resume"
                say(f"\nStopped. To go on: python scripts/sweep.py {wanted.file} {place}")
                raise
            finally:
                trials.write_table()
    screen.result(trials, (before, after), engine.reason)


def _agreed(wanted: Wanted, sweep: Sweep) -> tuple[int, str | None, tuple[str, ...]]:
    """Settle seed, sampler and overrides, which stay as they are if a sweep is gone on with."""
    sampler = samplers.checked(wanted.sampler, sweep.method)
    folder, exists = wanted.folder, (wanted.folder / "sweep.yaml").exists()
    if not wanted.resume:
        if folder.exists():
            raise Mistake(
                f"{short(folder)} exists: --resume goes on with it, --name=NAME begins another."
            )
        return wanted.seed or 0, sampler, wanted.overrides
    if not exists:
        raise Mistake(f"{short(folder)}: there is no sweep to go on with.")
    begun = schema.read(folder / "sweep.yaml").model_dump(exclude={"run_cap"})
    for key, value in sweep.model_dump(exclude={"run_cap"}).items():
        if begun[key] != value:
            raise Mistake(f"{wanted.file}: {key} is not what it was when this sweep began.")
    try:
        saved = json.loads(read_plain(folder, "settings.json", 2**20))
        seed, overrides = int(saved["seed"]), tuple(map(str, saved["overrides"]))
        began = samplers.checked(saved["sampler"], sweep.method)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise Mistake(f"{short(folder)}/settings.json is damaged.") from None
    if wanted.seed not in (None, seed):
        raise Mistake(f"--seed={wanted.seed}: this sweep began with {seed}.")
    if wanted.sampler not in (None, began):
        raise Mistake(f"--sampler={wanted.sampler}: this sweep began with {began}.")
    if wanted.overrides and wanted.overrides != overrides:
        raise Mistake(f"{' '.join(wanted.overrides)}: this sweep began with {' '.join(overrides)}.")
    return seed, began, overrides


@contextmanager
def _held(wanted: Wanted, seed: int, sampler: str | None) -> Iterator[None]:
    """Hold the sweep's folder, and write down what it is about if it is new."""
    folder = wanted.folder
    try:
        folder.mkdir(parents=True, exist_ok=wanted.resume)
        held = lock(folder / ".lock", "at work on this sweep")
        if not wanted.resume:
            settings = {"seed": seed, "sampler": sampler, "overrides": wanted.overrides}
            write_whole(folder / "settings.json", json.dumps(settings).encode())
            write_whole(folder / "sweep.yaml", wanted.file.read_bytes())
    except OSError as error:
        raise Mistake(f"{short(folder)}: nothing can be written there: {error.strerror}.") from None
    try:
        yield
    finally:
        os.close(held)
