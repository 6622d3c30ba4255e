"""A run once more, from its folder: taken up where it ended, or repeated in a new one.

What a folder says is data that may come from anyone. Its configuration is plain YAML, and names
no classes but this library's and those of packages that the user trusts.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nn.config.instantiate import fits, locate
from nn.config.aliases import options
from nn.config.schema import GROUPS, Config
from nn.data.augmentation import Augmentation
from nn.data.source import Source
from nn.errors import Mistake, SettingError, as_typed
from nn.runs.experiment import prepare
from nn.config.knobs import KNOBS
from nn.losses import Loss
from nn.models import Model
from nn.optimizers import Optimizer
from nn.runs.runner import run
from nn.schedules import Schedule
from nn.runs.environment import describe
from nn.runs.history import records
from nn.io.paths import new_folder, short
from nn.runs.reader import read_config, read_json
from nn.tracking.settings import Tracking

KINDS: dict[str, type[Any]] = {
    "dataset": Source,
    "augmentation": Augmentation,
    "model": Model,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "loss": Loss,
    "tracking": Tracking,
}
ALLOWED = {
    "resume": ("epochs", "tracking", "trust"),
    "repeat": ("tracking", "trust"),
}


@dataclass(frozen=True)
class Words:
    """What the command line asks for."""

    verb: str
    folder: Path
    others: dict[str, str]


def asked(words: Iterable[str]) -> Words | None:
    """Read resume=FOLDER or repeat=FOLDER, and what may stand beside it."""
    words = list(words)
    verb = next((w.split("=")[0] for w in words if w.startswith(("resume=", "repeat="))), None)
    if verb is None:
        return None
    given: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in (verb, *ALLOWED[verb]) or name in given:
            raise Mistake(
                f"{word}: beside {verb}= there may be {', '.join(ALLOWED[verb])}, once each; "
                "all else is as the run has it."
            )
        given[name] = value
    return Words(verb, Path(given.pop(verb)), given)


def go(words: Words) -> int:
    """Do it, and give the exit status."""
    config = trusted_config(words.folder, words.others.get("trust", ""))
    tracking = words.others.get("tracking")
    if tracking is not None:
        if tracking not in options("tracking"):
            one_of = ", ".join(options("tracking"))
            raise Mistake(f"tracking={tracking}: there is no such tracking; there is {one_of}.")
        config["tracking"] = {**config["tracking"], "mode": tracking}
        config["choices"] = {**config["choices"], "tracking": tracking}
    return _resume(words, config) if words.verb == "resume" else _repeat(words.folder, config)


def trusted_config(folder: Path, trust: str = "", word: str = "trust=") -> dict[str, Any]:
    """Read the configuration of a run, and refuse whatever a run would not have written.

    Packages are trusted by a word on the command line, which begins like this.
    """
    where, config = folder / "config.yaml", read_config(folder)
    expected = {*Config.__annotations__, "choices"}
    for key in config:
        if key not in expected:
            raise Mistake(f"{where}: {key} is no setting of a run.")
    for key in sorted(expected):
        if key not in config:
            raise Mistake(f"{where}: {key} is missing.")
    for value in _texts(config):
        if "${" in value:
            raise Mistake(f"{where}: {value!r} is no plain value.")
    choices = config["choices"]
    if not isinstance(choices, dict) or choices.keys() != set(GROUPS):
        raise Mistake(f"{where}: choices must name an option of {', '.join(GROUPS)}.")
    for group, option in choices.items():
        if option is not None and not re.fullmatch(r"[\w./-]{1,100}", str(option)):
            raise Mistake(f"{where}: {group}={option!r} is no name of an option.")
    _refuse_untrusted(config, {"nn", *filter(None, trust.split(","))}, word)
    return config


def _refuse_untrusted(config: Mapping[str, Any], trusted: set[str], word: str) -> None:
    """Refuse a class of a package that nobody trusts, before and after it is looked up."""
    for group, kind in KINDS.items():
        node = config[group]
        if not isinstance(node, Mapping):
            raise Mistake(f"{group}={as_typed(node)}: these are no settings.")
        target = f"{group}._target_={node.get('_target_')}"
        package = str(node.get("_target_")).partition(".")[0]
        if package in trusted:
            found = locate(group, node["_target_"])
            package = found.__module__.partition(".")[0]
        if package not in trusted:
            raise Mistake(f"{target}: {package} is not trusted to run; {word}{package} allows it.")
        if package == "nn" and not (inspect.isclass(found) and issubclass(found, kind)):
            raise Mistake(f"{target}: this is no {group}.")
        for name, value in node.items():
            if any(text == "_target_" for text in _keys(value)):
                raise Mistake(f"{group}.{name}: there can be no _target_ within a setting.")


def _resume(words: Words, config: dict[str, Any]) -> int:
    """Go on with a run until its end."""
    wanted = words.others.get("epochs")
    epochs = config["epochs"]
    if wanted is not None:
        value = int(wanted) if re.fullmatch(r"\d{1,9}", wanted) else wanted
        if not fits(value, KNOBS["epochs"].kind) or not isinstance(value, int):
            raise SettingError("epochs", wanted, KNOBS["epochs"].expected)
        if value < epochs:
            raise Mistake(f"epochs={value}: the run has {epochs}; it can only be made longer.")
        config["epochs"] = value
    summary = read_json(words.folder, "summary.json")
    if summary.get("status") == "finished" and config["epochs"] == epochs:
        print(f"{short(words.folder)} is finished: {_headline(summary)}.")
        return 0
    run(config, words.folder, resumed=True)
    return 0


def _repeat(folder: Path, config: dict[str, Any]) -> int:
    """Run the same configuration in a new folder, and hold the results against each other."""
    expected = read_json(folder, "summary.json").get("dataset/sha256")
    if expected is not None and prepare(config).dataset.sha256 != expected:
        raise Mistake(f"{short(folder)}: the dataset is not the one that this run was trained on.")
    path = Path(new_folder())
    summary, history = read_json(folder, "summary.json"), _history(folder)
    theirs = read_json(folder, "environment.json")
    run(config, path)
    differing = [
        *_differences(summary, read_json(path, "summary.json")),
        *(["history"] if history != _history(path) else []),
    ]
    if not differing:
        print("The same bits: history, summary and weights are those of the run repeated.")
        return 0
    print(f"Not the same bits: {', '.join(differing)}.", file=sys.stderr)
    ours = json.loads(json.dumps(describe()))
    for key in ("git", "python", "packages", "platform", "processor", "blas", "simd"):
        if theirs.get(key) != ours[key]:
            there, here = json.dumps(theirs.get(key)), json.dumps(ours[key])
            print(f"{key}: {there} there, {here} here", file=sys.stderr)
    return 1


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Name the figures of two summaries that differ, all but durations."""
    keys = [key for key in {**theirs, **ours} if "second" not in key]
    return [key for key in keys if theirs.get(key) != ours.get(key)]


def _history(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a history without their durations."""
    return [
        {key: value for key, value in record.items() if "second" not in key}
        for record in records(folder)
    ]


def _headline(summary: Mapping[str, Any]) -> str:
    for part in ("test", "val"):
        value = summary.get(f"{part}/accuracy")
        if isinstance(value, float):
            return f"{part} accuracy {value:.4f} after {as_typed(summary.get('epochs'))} epochs"
    return f"{as_typed(summary.get('epochs'))} epochs"


def _texts(value: Any) -> Iterator[str]:
    """Go through all texts in a configuration, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (*_texts(key), *_texts(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (str(key), *_keys(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
