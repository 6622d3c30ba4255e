"""What Hydra and OmegaConf refuse, told in one sentence that names the key and the value."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from nn.config.aliases import options, unknown
from nn.config.instantiate import nearest
from nn.config.knobs import KNOBS
from nn.config.schema import GROUPS
from nn.errors import Mistake, SettingError


def sentence(error: BaseException) -> str | None:
    """Tell the mistake behind an error; None stands for a bug."""
    for cause in _causes(error):
        if isinstance(cause, Mistake):
            return str(cause)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        return _no_such_option(group, option, error.options)
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return _no_name_of_an_option()
    if isinstance(error, ValueError) and str(error).startswith(("Only one of", "The --")):
        return f"{_first_line(error)}."
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _refused(error)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _unreadable(override: str) -> str:
    if "=" not in override:
        return f"{override}: a setting is written KEY=VALUE, such as lr=0.1."
    return f"{override}: this cannot be read; a list is [1,2], a text with signs is 'in quotes'."


def _no_such_option(group: str, option: str, known: Sequence[str]) -> str:
    near = nearest(option, known)
    hint = f"did you mean {near}? There is" if near else "there is"
    return f"{group}={option}: there is no such {group}; {hint} {', '.join(sorted(known))}."


def _no_name_of_an_option() -> str:
    """Hydra refuses a group that is set to null or to a number, and does not say which."""
    for override in sys.argv[1:]:
        group, _, option = override.partition("=")
        if group in GROUPS and option not in options(group):
            return _no_such_option(group, option, options(group))
    return "A setting is written KEY=VALUE, such as lr=0.1."


def _refused(error: Exception) -> str:
    """Find the key, the value and the remedy in an error of Hydra's or OmegaConf's."""
    found = re.search(r"(?:merging override |use \+|argument ')(.*?)(?:'?\n|$)", str(error))
    override = found[1] if found else ""
    key, _, value = override.lstrip("+").partition("=")
    cause = error.__cause__ or error
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) and key:
        return unknown(key, value)
    if key in KNOBS and "Ambiguous" not in str(error):
        return str(SettingError(key, value or "''", KNOBS[key].expected))
    if "Ambiguous value" in str(error):
        return f"{override}: several values need --multirun in front; a list is {key}=[{value}]."
    interpolated = next((word for word in sys.argv[1:] if "${" in word), None)
    where = override or interpolated or getattr(cause, "full_key", None)
    return f"{where}: {_first_line(cause)}." if where else f"{_first_line(cause)}."


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")
