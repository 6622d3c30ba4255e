"""Turn errors of Hydra and OmegaConf into one-sentence messages that name the key and value."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import MarkedYAMLError

from nn.config.aliases import (
    is_renamed,
    list_options,
    renamed_setting_message,
    unknown_setting_message,
)
from nn.config.instantiate import get_closest_match
from nn.config.knobs import HYPERPARAMETERS
from nn.config.schema import CONFIG_GROUPS
from nn.errors import SettingError, UserError
from nn.io.paths import relpath


def explain_error(error: BaseException) -> str | None:
    """Return the message for the user, or None if the error is not a user error but a bug."""
    for cause in _iter_causes(error):
        if isinstance(cause, UserError):
            return str(cause)
    if isinstance(error, MarkedYAMLError) and error.problem_mark:  # in a file of the user's
        mark = error.problem_mark
        return f"{relpath(mark.name)}, line {mark.line + 1}: this is not YAML: {error.problem}."
    if isinstance(error, OverrideParseException):
        return _parse_error_message(error.override)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return _unknown_option_message(group, option, error.options)
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return _invalid_group_value_message()
    if isinstance(error, ValueError) and str(error).startswith(("Only one of", "The --")):
        return f"{_first_line(error)}."
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _override_error_message(error)
    return None


def _iter_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _parse_error_message(override: str) -> str:
    if "=" not in override:
        return f"{override}: a setting is written KEY=VALUE, such as lr=0.1."
    return (
        f"{override}: this cannot be parsed; write a list as [1,2], "
        "and a string with special characters 'in quotes'."
    )


def _unknown_option_message(group: str, option: str, available: Sequence[str]) -> str:
    closest = get_closest_match(option, available)
    hint = f"did you mean {closest}? Available" if closest else "available"
    return f"{group}={option}: there is no such {group}; {hint}: {', '.join(sorted(available))}."


def _invalid_group_value_message() -> str:
    """Find the group set to null or a number in `sys.argv`; Hydra's error does not name it."""
    for override in sys.argv[1:]:
        group, _, option = override.partition("=")
        if group in CONFIG_GROUPS and option not in list_options(group):
            return _unknown_option_message(group, option, list_options(group))
    return "A setting is written KEY=VALUE, such as lr=0.1."


def _override_error_message(error: Exception) -> str:
    """Extract key and value from the text of a Hydra or OmegaConf error, and suggest a fix."""
    match = re.search(r"(?:merging override |use \+|argument ')(.*?)(?:'?\n|$)", str(error))
    override = match[1] if match else ""
    key, _, value = override.lstrip("+").partition("=")
    cause = error.__cause__ or error
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and key:
        siblings = getattr(cause, "parent_node", None)
        return unknown_setting_message(
            key, value, list(siblings) if isinstance(siblings, DictConfig) else []
        )
    preset = re.match(r"In '(.*?)': .*\nKey '(\w+)' not in 'Config'", str(error))
    if preset and is_renamed(preset[2]):
        return f"{preset[1]}: {renamed_setting_message(preset[2])}"
    if key in HYPERPARAMETERS and "Ambiguous" not in str(error):
        return str(SettingError(key, value or "''", HYPERPARAMETERS[key].expected))
    if "Ambiguous value" in str(error):
        return f"{override}: several values need --multirun; write a list as {key}=[{value}]."
    interpolated_override = next((argument for argument in sys.argv[1:] if "${" in argument), None)
    location = override or interpolated_override or getattr(cause, "full_key", None)
    return f"{location}: {_first_line(cause)}." if location else f"{_first_line(cause)}."


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")
