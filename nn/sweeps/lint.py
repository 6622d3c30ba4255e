"""Lint a sweep file: find errors and likely mistakes before a sweep starts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nn.config.compose import get_setting_type
from nn.config.instantiate import get_closest_match
from nn.config.schema import CONFIG_GROUPS
from nn.errors import UserError
from nn.sweeps import schema
from nn.sweeps.dry_run import DryRun
from nn.sweeps.schema import EPOCH_METRICS, FINAL_METRICS, SweepConfig
from nn.sweeps.sweep_file import (
    MisreadScalar,
    collect_nodes,
    find_duplicate_keys,
    find_misread_scalars,
    load_yaml,
    read_sweep_text,
)

HIGHER_IS_BETTER = {"accuracy", "top3", "f1", "precision", "recall", "samples_per_second"}
"""Last components of the names of metrics to maximize."""
LOWER_IS_BETTER = {"loss", "error", "calibration_error", "seconds"}
"""Last components of the names of metrics to minimize."""

TRAIN_SCRIPT = "scripts/train.py"
ARGS_MACRO = "${args_no_hyphens}"
RECOMMENDED_COMMAND = f'["${{env}}", "${{interpreter}}", "${{program}}", "{ARGS_MACRO}"]'
SUPPORTED_MACROS = ("env", "interpreter", "program", "args_no_hyphens", "args_override_hydra")
"""Macros of `wandb agent` that a command for train.py may contain."""


def find_warnings(path: Path) -> Iterator[str]:
    """Yield what runs here but is probably unintended, or does not run with `wandb agent`."""
    sweep_config = load_yaml(path)
    parameters = sweep_config.get("parameters")
    if isinstance(parameters, dict):
        for name, parameter_config in schema.flatten_parameters(parameters).items():
            if isinstance(parameter_config, Mapping):
                yield from _exponent_warnings(name, parameter_config)
    metric = sweep_config.get("metric")
    if isinstance(metric, dict):
        yield from _metric_warnings(metric)
        for key in ("impute", "impute_while_running"):
            if key in metric and sweep_config.get("method") != "bayes":
                yield f"metric.{key} has no effect without method: bayes; leave it out."
    yield from _agent_command_warnings(sweep_config)


def find_errors(path: Path, overrides: Sequence[str]) -> list[str]:
    """Return everything that is wrong with a sweep file, each message once."""
    sweep_config, yaml_nodes = load_yaml(path), collect_nodes(read_sweep_text(path))
    schema_errors = schema.list_errors(sweep_config)
    sweep = None if schema_errors else schema.parse_sweep_config(sweep_config, path)
    misread_scalars = list(find_misread_scalars(yaml_nodes))
    errors = list(find_duplicate_keys(yaml_nodes))
    dry_run = None
    if sweep:
        schema_errors += _program_errors(sweep)
        try:
            misread_bools = {
                _get_parameter_name(scalar.key_path) or ""
                for scalar in misread_scalars
                if scalar.is_bool
            }
            dry_run = DryRun(sweep, overrides, misread_bools)
        except UserError as error:
            schema_errors.append(str(error))
    errors += [
        scalar.message for scalar in misread_scalars if not _is_intended_bool(scalar, dry_run)
    ]
    errors += schema_errors
    if sweep and dry_run:
        errors += dry_run.find_errors()
        errors += _metric_errors(sweep)
    return list(dict.fromkeys(errors))


def _exponent_warnings(name: str, parameter_config: Mapping[str, Any]) -> Iterator[str]:
    """Warn about exponents that look like values: small values have negative exponents."""
    kind = str(parameter_config.get("distribution"))
    if kind not in ("log_uniform", "q_log_uniform", "inv_log_uniform"):
        return
    try:
        distribution = schema.parse_distribution(name, parameter_config)
    except ValueError:
        return  # which is reported as an error
    low, high = parameter_config["min"], parameter_config["max"]
    if low >= 0:
        first, last = (f"{distribution.ppf(quantile):.4g}" for quantile in (0.0, 1.0))
        yield (
            f"parameters.{name}: min and max are exponents in {kind}, so values from {first} to "
            f"{last} are tried; for values from {low:g} to {high:g} write {kind}_values."
        )


def _metric_warnings(metric: Mapping[str, Any]) -> Iterator[str]:
    name, goal = str(metric.get("name")), metric.get("goal")
    base_name = re.split(r"[/.]", name)[-1]
    if base_name in HIGHER_IS_BETTER and goal is None:
        yield f"metric: {name} is minimized, which is W&B's default; write goal: maximize."
    elif base_name in HIGHER_IS_BETTER and goal == "minimize":
        yield f"metric.goal: {name} is minimized, but higher is better; write goal: maximize."
    elif base_name in LOWER_IS_BETTER and goal == "maximize":
        yield f"metric.goal: {name} is maximized, but lower is better; write goal: minimize."
    if name.startswith("test/"):
        yield (
            f"metric.name: {name} selects trials by the test set, whose score is then biased "
            f"as an estimate for new data; write {name.replace('test/', 'val/')}."
        )


def _agent_command_warnings(sweep_config: Mapping[str, Any]) -> Iterator[str]:
    """Warn about a file with which `wandb agent` could not start any trial."""
    program, command = sweep_config.get("program"), sweep_config.get("command")
    if program is None and command is None:
        return  # a file for this library's own workers
    if isinstance(program, str) and not Path(program).exists():
        yield (
            f"program: {program} does not exist in the current directory, where wandb agent looks "
            "for it."
        )
    if command is None:
        yield (
            "command is missing: wandb agent would pass --lr=0.1, which train.py refuses; "
            f"write command: {RECOMMENDED_COMMAND}."
        )
    if not isinstance(command, list):
        return
    used_macros = [arg[2:-1] for arg in map(str, command) if re.fullmatch(r"\$\{\w+\}", arg)]
    if program is None and "program" in used_macros:
        yield f"program is missing: command uses it; write program: {TRAIN_SCRIPT}."
    if not any(macro.startswith("args") for macro in used_macros):
        yield (
            "command: without a macro for the parameters, wandb agent runs every trial with the "
            f"same settings; add {ARGS_MACRO}."
        )
    parameters = sweep_config.get("parameters")
    groups = [name for name in CONFIG_GROUPS if isinstance(parameters, dict) and name in parameters]
    for macro in used_macros:
        if macro not in SUPPORTED_MACROS:
            reason = (
                "does not pass parameters as lr=0.1, which train.py expects"
                if macro.startswith("args")
                else "is not a macro of wandb agent, which drops it"
            )
            yield f"command: ${{{macro}}} {reason}; write {ARGS_MACRO}."
        elif macro == "args_override_hydra" and groups:
            reason = f"passes ++{groups[0]}=NAME, which Hydra rejects"
            yield f"command: ${{{macro}}} {reason}; write {ARGS_MACRO}."


def _program_errors(sweep: SweepConfig) -> Iterator[str]:
    """Yield an error if the file names another program, since only train.py is run here."""
    if sweep.program is None:
        return
    path = Path(sweep.program)
    is_supported = path.name == Path(TRAIN_SCRIPT).name
    with suppress(OSError, ValueError), path.open("rb") as file:
        is_supported = bool(re.search(rb"^\s*(from|import) nn\b", file.read(2**16), re.MULTILINE))
    if not is_supported:
        yield (
            f"program: {sweep.program} is not this library's training script; write program: "
            f"{TRAIN_SCRIPT}."
        )


def _is_intended_bool(scalar: MisreadScalar, dry_run: DryRun | None) -> bool:
    """Return whether `on`, `off`, `yes` or `no` is the value of a Boolean setting."""
    name = _get_parameter_name(scalar.key_path)
    if not scalar.is_bool or name in CONFIG_GROUPS:
        return False
    if name is None:
        return scalar.key_path[-1:] == ("strict",)
    setting_type = get_setting_type(name, dry_run.base_config) if dry_run else None
    return setting_type is None or setting_type.accepts(True)


def _get_parameter_name(key_path: tuple[str, ...]) -> str | None:
    """Return the name of the parameter to which a value in a sweep file belongs, if any."""
    top, *inner = key_path or ("",)
    names = inner[:-1] if inner[-1:] and inner[-1] in ("value", "values", "min", "max") else []
    name = ".".join(key for key in names if key != "parameters")
    return name if top == "parameters" and name else None


def _metric_errors(sweep: SweepConfig) -> Iterator[str]:
    """Yield an error if the metric is never logged, or too late for pruning."""
    if sweep.metric is None:
        return
    name, logged_metrics = sweep.metric.name, (*EPOCH_METRICS, *FINAL_METRICS)
    if name not in logged_metrics:
        closest = get_closest_match(name, logged_metrics)
        hint = (
            f"did you mean {closest}?" if closest else f"choose one of {', '.join(logged_metrics)}."
        )
        yield f"metric.name: {name} is never logged; {hint}"
    elif sweep.early_terminate and name in FINAL_METRICS:
        yield (
            f"metric.name: {name} is logged once, at the end of a run, too late for hyperband; "
            "choose a metric that is logged every epoch."
        )
