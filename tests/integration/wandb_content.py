"""What W&B stores about a run and what the run directory says it should, in comparable form."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from nn.config.schema import validate_config
from nn.runs.reader import SavedRun
from nn.tracking import media
from nn.tracking.wandb_run import to_wandb_config
from tests.fake_wandb import FakeWandbServer

VARYING_KEYS = ("second", "sessions", "_timestamp", "_runtime", "_wandb", "_step")
"""Parts of the keys whose values differ between repetitions of the same run."""


def comparable_numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measured values, without timings and media."""
    return {
        key: value
        for key, value in record.items()
        if value is not None
        and not isinstance(value, dict)
        and not any(part in key for part in VARYING_KEYS)
    }


def logged_content(server: FakeWandbServer, run_id: str) -> dict[str, Any]:
    """Return what the server stores about a run."""
    run = server.runs[run_id]
    last = run.history[-1] if run.history else {}
    return {
        "state": run.state,
        "config": run.config,
        "history": [comparable_numbers(row) for row in run.history],
        "summary": comparable_numbers(run.summary),
        "tables": {
            f"{name} {row['_step']}": json.loads(run.files[each["path"]])["data"]
            for row in run.history
            for name, each in row.items()
            if isinstance(each, dict) and each.get("_type") == "table-file"
        },
        "images": {
            name: [
                (decode_png(run.files[file]), caption)
                for file, caption in zip(each["filenames"], each["captions"], strict=True)
            ]
            for name, each in last.items()
            if isinstance(each, dict) and each.get("_type") == "images/separated"
        },
        "model": latest_model(server, run_id),
        "settings": yaml.safe_load(run.files["settings.yaml"]),
    }


def expected_content(
    path: Path, state: str = "finished", sweep_parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what the server should store about the run in a directory."""
    saved = SavedRun(path)
    names = saved.class_names
    summary: Any = saved.summary
    history: list[dict[str, Any]] = saved.history
    part = "test" if summary["test/accuracy"] is not None else "val"
    confusion = summary["confusion_matrix"]
    last = history[-1]["epoch"]
    tables = {
        f"val/confusion_matrix_table {record['epoch']}": media.long_confusion_table(
            record["val/confusion_matrix"], names
        ).rows
        for record in history
        if "val/confusion_matrix" in record
    }
    images = {}
    if "precision" in summary:
        assert saved.predictions is not None
        tables[f"{part}/confusion_matrix_table {last}"] = media.long_confusion_table(
            confusion, names
        ).rows
        tables[f"{part}/confusion_counts {last}"] = media.wide_confusion_table(
            confusion, names
        ).rows
        tables[f"{part}/classes {last}"] = media.classification_report(summary, names).rows
        images = {
            f"examples/{which}": [
                (each.pixels.tolist(), each.caption)
                for each in media.select_example_images(
                    saved.predictions, names, which == "right", 16
                )
            ]
            for which in ("right", "wrong")
        }
    keeps_best = saved.config["restore_best"]
    checkpoint_file = path / "checkpoints" / f"{'best' if keeps_best else 'last'}.safetensors"
    config = to_wandb_config(validate_config(saved.config))
    excluded_keys = ("confusion_matrix", "class_names")
    return {
        "state": state,
        "config": config | (sweep_parameters or {}),
        "history": [
            comparable_numbers({k: v for k, v in record.items() if k != "val/confusion_matrix"})
            for record in history
        ],
        "summary": {
            **comparable_numbers({k: v for k, v in history[-1].items() if "matrix" not in k}),
            **comparable_numbers({k: v for k, v in summary.items() if k not in excluded_keys}),
        },
        "tables": tables,
        "images": images,
        "model": (
            ["best", "latest"] if keeps_best else ["latest"],
            config,
            checkpoint_file.read_bytes(),
        )
        if state == "finished"
        else None,
        "settings": saved.config,
    }


def latest_model(
    server: FakeWandbServer, run_id: str
) -> tuple[list[str], dict[str, Any], bytes] | None:
    """Return the newest model artifact of a run: its aliases, metadata and bytes."""
    collection = server.artifacts.get(f"model-{run_id}")
    if collection is None:
        return None
    version = collection.find("latest")
    return sorted(version.aliases), version.metadata["config"], version.files["model.safetensors"]


def decode_png(png: bytes) -> list[Any]:
    values: list[Any] = np.asarray(Image.open(io.BytesIO(png))).tolist()
    return values
