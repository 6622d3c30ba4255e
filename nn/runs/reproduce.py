"""Reproduce a run: repeat it in a new directory and compare the results bit by bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nn.config.schema import Config
from nn.errors import UserError
from nn.io.paths import default_run_dir, relpath
from nn.io.serialization import JsonObject
from nn.runs.environment import collect_environment
from nn.runs.experiment import prepare_ahead
from nn.runs.history import read_history
from nn.runs.reader import read_json
from nn.runs.runner import run


def reproduce_run(run_dir: Path, config: Config) -> int:
    """Run a configuration again and print how the results differ; return 1 if they do, else 0."""
    original_summary = read_json(run_dir, "summary.json")
    status = original_summary.get("status", "unfinished")
    if status != "finished":
        raise UserError(
            f"reproduce={relpath(run_dir)}: the run's status is {status}; "
            "only a finished run can be reproduced."
        )
    dataset_sha256 = original_summary.get("dataset/sha256")
    if dataset_sha256 is not None and prepare_ahead(config).dataset.sha256 != dataset_sha256:
        raise UserError(
            f"{relpath(run_dir)}: the dataset is not the one that this run was trained on."
        )
    new_run_dir = Path(default_run_dir())
    original_history = _read_history_without_durations(run_dir)
    original_environment = read_json(run_dir, "environment.json")
    run(config, new_run_dir)
    differences = [
        *_differing_keys(original_summary, read_json(new_run_dir, "summary.json")),
        *(["history"] if original_history != _read_history_without_durations(new_run_dir) else []),
    ]
    if not differences:
        print("Reproduced: history, summary and weights are bit-identical.")
        return 0
    print(f"Not reproduced: {', '.join(differences)} differ.", file=sys.stderr)
    current_environment = json.loads(json.dumps(collect_environment()))
    for key in ("git", "python", "packages", "platform", "cpu_model", "blas", "simd"):
        if original_environment.get(key) != current_environment[key]:
            original = json.dumps(original_environment.get(key))
            current = json.dumps(current_environment[key])
            print(f"{key}: {original} originally, {current} now", file=sys.stderr)
    return 1


def _differing_keys(original: Mapping[str, Any], reproduced: Mapping[str, Any]) -> list[str]:
    """List the keys whose values differ between two summaries, durations excepted."""
    keys = [key for key in {**original, **reproduced} if "second" not in key and key != "sessions"]
    return [key for key in keys if original.get(key) != reproduced.get(key)]


def _read_history_without_durations(run_dir: Path) -> list[JsonObject]:
    """Read a history without durations, which differ between identical runs."""
    return [
        {key: value for key, value in record.items() if "second" not in key}
        for record in read_history(run_dir)
    ]
