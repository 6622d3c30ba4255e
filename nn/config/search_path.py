"""Where the user's own config files and classes are found, in addition to those of this package."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from nn.config.schema import CONFIG_DIR
from nn.errors import UserError

_user_config_dir: Path | None = None


def set_config_dir(config_dir: Path | None) -> None:
    """Set the directory of `--config-dir` for this process; None for this package's conf/ alone.

    Raises:
        UserError: There is no such directory.
    """
    global _user_config_dir
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"--config-dir={config_dir}: there is no such directory.")
    _user_config_dir = None if config_dir is None else config_dir.absolute()


def split_config_dir(arguments: Sequence[str]) -> tuple[Path | None, Sequence[str]]:
    """Return the directory of `--config-dir`, a flag of train and of Hydra, and other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config-dir", type=Path)
    try:
        args, others = parser.parse_known_args(arguments)
    except argparse.ArgumentError:  # its value is missing
        return None, arguments
    return args.config_dir, others


def get_config_dir() -> Path | None:
    """Return the directory of `--config-dir`, with which a worker process is to be started."""
    return _user_config_dir


def list_config_dirs() -> tuple[Path, ...]:
    """Return the directories of config files; an option is taken from the first that has it."""
    return (CONFIG_DIR,) if _user_config_dir is None else (CONFIG_DIR, _user_config_dir)


def merge_searchpath_overrides(overrides: Iterable[Override]) -> list[str]:
    """Return at most one override of `hydra.searchpath`, with which Hydra searches `--config-dir`.

    It contains the paths of `hydra.searchpath` among the overrides, too.
    """
    paths = [f"file://{path}" for path in list_config_dirs()[1:]]
    for override in overrides:
        if override.key_or_group == "hydra.searchpath":
            value = override.value()
            if not isinstance(value, list):
                raise UserError(f"{override.input_line}: write a list, such as [my/conf].")
            paths += map(str, value)
    return [f"hydra.searchpath={json.dumps(paths, ensure_ascii=False)}"] if paths else []


def make_cwd_importable() -> None:
    """Append the working directory to the import path, which has it with `python -m` too."""
    cwd = str(Path.cwd())
    if cwd not in sys.path and not sys.flags.safe_path:
        sys.path.append(cwd)
