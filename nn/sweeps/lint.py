"""What would go wrong with a sweep, found before it starts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nn.config.compose import annotation
from nn.config.instantiate import fits, nearest
from nn.config.schema import GROUPS
from nn.errors import Mistake
from nn.sweeps import schema
from nn.sweeps.dry_run import DryRun
from nn.sweeps.schema import Sweep
from nn.sweeps.yaml_pitfalls import Misread, duplicate_keys, misread_scalars, nodes

METRICS = (
    "train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "samples_per_second",
    "test/loss", "test/accuracy", "test/top3", "test/calibration_error", "seconds",
)  # fmt: skip
"""What a run logs; the last of them once, at its end."""
HIGHER_IS_BETTER = {"accuracy", "top3", "f1", "precision", "recall", "samples_per_second"}
LOWER_IS_BETTER = {"loss", "error", "calibration_error", "seconds"}
"""The last parts of the names of metrics."""

PROGRAM = "scripts/train.py"
ARGS = "${args_no_hyphens}"
COMMAND = f'["${{env}}", "${{interpreter}}", "${{program}}", "{ARGS}"]'
MACROS = ("env", "interpreter", "program", "args_no_hyphens", "args_override_hydra")
"""The macros of `wandb agent` that train.py can be started with."""


def warnings(path: Path) -> Iterator[str]:
    """Report what runs here but may not be meant, or does not run with `wandb agent`."""
    content = schema.raw(path)
    parameters = content.get("parameters")
    if isinstance(parameters, dict):
        for block, names in schema.nested(parameters).items():
            yield (
                f"parameters.{block}: a nested block does not reach Hydra behind wandb agent; "
                f"write {', '.join(names)}."
            )
        for name, each in schema.dotted(parameters).items():
            if isinstance(each, Mapping):
                yield from _exponents(name, each)
    if isinstance(content.get("metric"), dict):
        yield from _metric_warnings(content["metric"])
    yield from _agent_warnings(content)


def mistakes(path: Path, overrides: Sequence[str]) -> list[str]:
    """Report everything that is wrong with a sweep, each sentence once."""
    content, document = schema.raw(path), nodes(schema.text_of(path))
    invalid = schema.problems(content)
    sweep = None if invalid else schema.parse(content, path)
    scalars = list(misread_scalars(document))
    found = list(duplicate_keys(document))
    trials = None
    if sweep:
        invalid += _program(sweep)
        try:
            misread = {_parameter(each.keys) or "" for each in scalars if each.is_bool}
            trials = DryRun(sweep, overrides, misread)
        except Mistake as mistake:
            invalid.append(str(mistake))
    found += [each.sentence for each in scalars if not _is_meant(each, trials)]
    found += invalid
    if sweep and trials:
        found += trials.mistakes()
        found += _metric(sweep)
    return list(dict.fromkeys(found))


def _exponents(name: str, given: Mapping[str, Any]) -> Iterator[str]:
    """Warn of exponents that look like values: those of small numbers are negative."""
    kind = str(given.get("distribution"))
    if kind not in ("log_uniform", "q_log_uniform", "inv_log_uniform"):
        return
    try:
        distribution = schema.distribution(name, given)
    except ValueError:
        return  # which is reported as a mistake
    low, high = given["min"], given["max"]
    if low >= 0:
        first, last = (f"{distribution.at(share):.4g}" for share in (0.0, 1.0))
        yield (
            f"parameters.{name}: min and max are exponents in {kind}, so values from {first} to "
            f"{last} are tried; for values from {low:g} to {high:g} write {kind}_values."
        )


def _metric_warnings(metric: Mapping[str, Any]) -> Iterator[str]:
    name, goal = str(metric.get("name")), metric.get("goal")
    last = re.split(r"[/.]", name)[-1]
    if last in HIGHER_IS_BETTER and goal is None:
        yield f"metric: {name} is minimized, which is W&B's default; write goal: maximize."
    elif last in HIGHER_IS_BETTER and goal == "minimize":
        yield f"metric.goal: {name} is better when higher, and minimize looks for the lowest."
    elif last in LOWER_IS_BETTER and goal == "maximize":
        yield f"metric.goal: {name} is better when lower, and maximize looks for the highest."
    if name.startswith("test/"):
        yield (
            f"metric.name: {name} selects trials by the test set, whose score is then no longer "
            f"an estimate for new data; write {name.replace('test/', 'val/')}."
        )


def _agent_warnings(content: Mapping[str, Any]) -> Iterator[str]:
    """Warn of a file with which `wandb agent` could not start any trial."""
    program, command = content.get("program"), content.get("command")
    if program is None and command is None:
        return  # a file for this library's own workers
    if isinstance(program, str) and not Path(program).exists():
        yield f"program: {program} is not in this folder, where wandb agent would look for it."
    if command is None:
        yield (
            "command is missing: wandb agent would pass --lr=0.1, which train.py refuses; "
            f"write command: {COMMAND}."
        )
    if not isinstance(command, list):
        return
    used = [word[2:-1] for word in map(str, command) if re.fullmatch(r"\$\{\w+\}", word)]
    if program is None and "program" in used:
        yield f"program is missing: command needs it; write program: {PROGRAM}."
    if not any(macro.startswith("args") for macro in used):
        yield (
            "command: without a macro for the parameters wandb agent runs every trial alike; "
            f"add {ARGS}."
        )
    parameters = content.get("parameters")
    groups = [name for name in GROUPS if isinstance(parameters, dict) and name in parameters]
    for macro in used:
        if macro not in MACROS:
            reason = (
                "does not write lr=0.1, as train.py takes it"
                if macro.startswith("args")
                else "is not a macro of wandb agent, which leaves it out"
            )
            yield f"command: ${{{macro}}} {reason}; write {ARGS}."
        elif macro == "args_override_hydra" and groups:
            reason = f"writes ++{groups[0]}=NAME, which Hydra refuses"
            yield f"command: ${{{macro}}} {reason}; write {ARGS}."


def _program(sweep: Sweep) -> Iterator[str]:
    """Refuse a file that is about another program, which would not be run here."""
    if sweep.program is None:
        return
    path = Path(sweep.program)
    is_ours = path.name == Path(PROGRAM).name
    with suppress(OSError, ValueError), path.open("rb") as file:
        is_ours = bool(re.search(rb"^\s*(from|import) nn\b", file.read(2**16), re.MULTILINE))
    if not is_ours:
        yield f"program: {sweep.program} is not what is run here; write program: {PROGRAM}."


def _is_meant(each: Misread, trials: DryRun | None) -> bool:
    """Whether `on` or `off` stands where a truth value belongs."""
    name = _parameter(each.keys)
    if not each.is_bool or name in GROUPS:
        return False
    if name is None:
        return each.keys[-1:] == ("strict",)
    return trials is None or fits(True, annotation(name, trials.base))


def _parameter(keys: tuple[str, ...]) -> str | None:
    """Name the parameter to which a value in a sweep file belongs."""
    top, *inner = keys or ("",)
    names = inner[:-1] if inner[-1:] and inner[-1] in ("value", "values", "min", "max") else []
    name = ".".join(key for key in names if key != "parameters")
    return name if top == "parameters" and name else None


def _metric(sweep: Sweep) -> Iterator[str]:
    """Refuse a metric that never comes, or too late."""
    if sweep.metric and sweep.metric.name not in METRICS:
        near = nearest(sweep.metric.name, METRICS)
        hint = f"did you mean {near}?" if near else "there is " + ", ".join(METRICS) + "."
        yield f"metric.name: {sweep.metric.name} is never logged; {hint}"
    elif sweep.early_terminate and sweep.metric and sweep.metric.name in METRICS[6:]:
        yield f"metric.name: {sweep.metric.name} comes once, at the end: too late for hyperband."
