"""What would go wrong with a sweep, found before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nn.components import fits, nearest
from nn.config.composed import annotation, configuration
from nn.config.schema import GROUPS
from nn.errors import Mistake
from nn.experiment import prepare
from nn.sweeps import schema
from nn.sweeps.distributions import IntUniform
from nn.sweeps.schema import Sweep
from nn.sweeps.space import words

METRICS = (
    "train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "samples_per_second",
    "test/loss", "test/accuracy", "test/top3", "test/calibration_error", "seconds",
)  # fmt: skip
"""What a run logs; the last of them once, at its end."""


def warnings(path: Path) -> Iterator[str]:
    """Tell what runs here, but not with W&B."""
    parameters = schema.raw(path).get("parameters")
    if isinstance(parameters, dict):
        for block, names in schema.nested(parameters).items():
            yield (
                f"parameters.{block}: a nested block does not reach Hydra behind wandb agent; "
                f"write {', '.join(names)}."
            )


def mistakes(sweep: Sweep, overrides: Sequence[str]) -> Iterator[str]:
    """Tell everything that is wrong with a sweep, by trying the ends of its ranges."""
    before, after = sweep.fixed_words
    for word in (*before, *after, *overrides):
        if word.split("=")[0].lstrip("+") in sweep.parameters:
            yield f"{word}: the sweep searches this itself; leave it out."
            return
    first = {name: each.ends[0] for name, each in sweep.parameters.items()}
    options = {name: value for name, value in first.items() if name in GROUPS}
    try:
        base = configuration([*before, *words(options), *after, *overrides])
    except Mistake as mistake:
        if not options or _refused([*before, *after, *overrides]):
            yield str(mistake)
            return
        base = configuration([*before, *after, *overrides])
    wrong = set()
    for name, each in sweep.parameters.items():
        if isinstance(each, IntUniform) and _real(annotation(name, base)):
            wrong.add(name)
            yield (
                f"parameters.{name}: min {each.min} and max {each.max} are whole numbers, so only "
                f"whole numbers would be tried; write {each.min}.0 and {each.max}.0."
            )
    told = set()
    for name, each in sweep.parameters.items():
        for value in each.ends:
            if name in wrong:
                continue
            point = {key: first[key] for key in first if key not in wrong} | {name: value}
            sentence = _refused([*before, *words(point), *after, *overrides])
            if sentence and sentence not in told:
                told.add(sentence)
                yield f"parameters.{name}: {sentence}"
    if sweep.metric and sweep.metric.name not in METRICS:
        near = nearest(sweep.metric.name, METRICS)
        hint = f"did you mean {near}?" if near else "there is " + ", ".join(METRICS) + "."
        yield f"metric.name: {sweep.metric.name} is never logged; {hint}"
    elif sweep.early_terminate and sweep.metric and sweep.metric.name in METRICS[6:]:
        yield f"metric.name: {sweep.metric.name} comes once, at the end: too late for hyperband."


def _refused(overrides: Sequence[str]) -> str | None:
    """Say why a configuration cannot run, if it cannot."""
    try:
        prepare(configuration(overrides))
    except Mistake as mistake:
        return str(mistake)
    return None


def _real(kind: Any) -> bool:
    """Whether a setting takes real numbers."""
    return kind is not Any and fits(0.5, kind)
