"""Repeat a run in a new directory and compare the results bit by bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nn.errors import UserError
from nn.io.paths import default_run_dir, relpath
from nn.runs.environment import collect_environment
from nn.runs.experiment import prepare
from nn.runs.history import read_history
from nn.runs.reader import read_json
from nn.runs.runner import run


def reproduce_run(run_dir: Path, config: dict[str, Any]) -> int:
    """Run the same configuration in a new folder, and hold the results against each other."""
    dataset_sha256 = read_json(run_dir, "summary.json").get("dataset/sha256")
    if dataset_sha256 is not None and prepare(config).dataset.sha256 != dataset_sha256:
        raise UserError(
            f"{relpath(run_dir)}: the dataset is not the one that this run was trained on."
        )
    new_run_dir = Path(default_run_dir())
    original_summary, original_history = (
        read_json(run_dir, "summary.json"),
        _read_history_without_durations(run_dir),
    )
    original_environment = read_json(run_dir, "environment.json")
    run(config, new_run_dir)
    differences = [
        *_differing_keys(original_summary, read_json(new_run_dir, "summary.json")),
        *(["history"] if original_history != _read_history_without_durations(new_run_dir) else []),
    ]
    if not differences:
        print("The same bits: history, summary and weights are those of the run repeated.")
        return 0
    print(f"Not the same bits: {', '.join(differences)}.", file=sys.stderr)
    current_environment = json.loads(json.dumps(collect_environment()))
    for key in ("git", "python", "packages", "platform", "processor", "blas", "simd"):
        if original_environment.get(key) != current_environment[key]:
            there, here = (
                json.dumps(original_environment.get(key)),
                json.dumps(current_environment[key]),
            )
            print(f"{key}: {there} there, {here} here", file=sys.stderr)
    return 1


def _differing_keys(original: Mapping[str, Any], reproduced: Mapping[str, Any]) -> list[str]:
    """Name the figures of two summaries that differ, all but durations."""
    keys = [key for key in {**original, **reproduced} if "second" not in key]
    return [key for key in keys if original.get(key) != reproduced.get(key)]


def _read_history_without_durations(run_dir: Path) -> list[dict[str, Any]]:
    """Read the lines of a history without their durations."""
    return [
        {key: value for key, value in record.items() if "second" not in key}
        for record in read_history(run_dir)
    ]
