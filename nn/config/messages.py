"""Turn errors of Hydra and OmegaConf into one-sentence messages that name the key and value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import MarkedYAMLError

from nn.config.aliases import list_options, unknown_setting_message
from nn.config.instantiate import get_closest_match
from nn.config.schema import CONFIG_GROUPS
from nn.errors import UserError
from nn.io.paths import relpath


def explain_error(error: BaseException, overrides: Iterable[str]) -> str | None:
    """Return the message for the user, or None if the error is not a user error but a bug.

    The overrides are those that led to the error, for errors of Hydra that do not name theirs.
    """
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
        return _invalid_group_value_message(overrides)
    if isinstance(error, ValueError) and str(error).startswith(("Only one of", "The --")):
        return f"{_first_line(error)}."
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _override_error_message(error, overrides)
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


def _invalid_group_value_message(overrides: Iterable[str]) -> str:
    """Find the group that is set to null or a number, which Hydra's error does not name."""
    for override in overrides:
        group, _, option = override.partition("=")
        if group in CONFIG_GROUPS and option not in list_options(group):
            return _unknown_option_message(group, option, list_options(group))
    return "A setting is written KEY=VALUE, such as lr=0.1."


def _override_error_message(error: Exception, overrides: Iterable[str]) -> str:
    """Extract the override from the text of a Hydra error, and suggest a fix."""
    match = re.search(r"(?:merging override |use \+|argument ')(.*?)(?:'?\n|$)", str(error))
    override = match[1] if match else ""
    if "Ambiguous value" in str(error):
        key, _, value = override.partition("=")
        return f"{override}: several values need --multirun; write a list as {key}=[{value}]."
    existing = re.search(r"An item is already at '(.*?)'", str(error))
    if existing:
        return f"+{existing[1]}: there is such a setting already; leave out the +."
    if "@" in override.partition("=")[0]:
        return f"{override}: an option cannot be given another package."
    override = override or next((text for text in overrides if "${" in text), "")
    return invalid_override_message(override, error.__cause__ or error)


def invalid_override_message(override: str, error: BaseException) -> str:
    """Return the message for an override that OmegaConf refuses."""
    key, _, value = override.lstrip("+").partition("=")
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)) and key:
        siblings = getattr(error, "parent_node", None)
        return unknown_setting_message(
            key, value, list(siblings) if isinstance(siblings, DictConfig) else []
        )
    location = override or getattr(error, "full_key", None)
    return f"{location}: {_first_line(error)}." if location else f"{_first_line(error)}."


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")
