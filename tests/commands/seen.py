"""What W&B holds of a run, and what it should hold by the run's folder, in one form."""

from __future__ import annotations

import io
import json

import numpy as np
import yaml
from PIL import Image

from nn.config.schema import validate_config
from nn.runs.reader import SavedRun
from nn.tracking import media
from nn.tracking.wandb_logger import to_wandb_config

PASSING = ("second", "sessions", "_timestamp", "_runtime", "_wandb", "_step")
"""Parts of the names of what differs from one run to the same run again."""


def numbers(record):
    """What was measured, without times and without media."""
    return {
        key: value
        for key, value in record.items()
        if value is not None
        and not isinstance(value, dict)
        and not any(part in key for part in PASSING)
    }


def seen(server, run_id):
    """What the server holds."""
    run = server.runs[run_id]
    last = run.history[-1] if run.history else {}
    return {
        "state": run.state,
        "config": run.config,
        "history": [numbers(row) for row in run.history],
        "summary": numbers(run.summary),
        "tables": {
            f"{name} {row['_step']}": json.loads(run.files[each["path"]])["data"]
            for row in run.history
            for name, each in row.items()
            if isinstance(each, dict) and each.get("_type") == "table-file"
        },
        "images": {
            name: [
                (pixels(run.files[file]), caption)
                for file, caption in zip(each["filenames"], each["captions"], strict=True)
            ]
            for name, each in last.items()
            if isinstance(each, dict) and each.get("_type") == "images/separated"
        },
        "model": model(server, run_id),
        "settings": yaml.safe_load(run.files["settings.yaml"]),
    }


def by_its_folder(path, state="finished", swept=None):
    """What the server should hold of the run in a folder."""
    saved = SavedRun.read(path)
    names, summary = saved.class_names, saved.summary
    part = "test" if summary["test/accuracy"] is not None else "val"
    confusion = summary["confusion_matrix"]
    last = saved.history[-1]["epoch"]
    tables = {
        f"val/confusion_matrix_table {record['epoch']}": media.long_confusion_table(
            record["val/confusion_matrix"], names
        ).rows
        for record in saved.history
        if "val/confusion_matrix" in record
    }
    images = {}
    if "precision" in summary:
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
    best = saved.config["restore_best"]
    file = path / "checkpoints" / f"{'best' if best else 'last'}.safetensors"
    config = to_wandb_config(validate_config(saved.config))
    aside = ("confusion_matrix", "class_names")
    return {
        "state": state,
        "config": config | (swept or {}),
        "history": [
            numbers({k: v for k, v in record.items() if k != "val/confusion_matrix"})
            for record in saved.history
        ],
        "summary": {
            **numbers({k: v for k, v in saved.history[-1].items() if "matrix" not in k}),
            **numbers({k: v for k, v in summary.items() if k not in aside}),
        },
        "tables": tables,
        "images": images,
        "model": (["best", "latest"] if best else ["latest"], config, file.read_bytes())
        if state == "finished"
        else None,
        "settings": saved.config,
    }


def model(server, run_id):
    """The newest model of a run: its aliases, its configuration and its bytes."""
    collection = server.artifacts.get(f"model-{run_id}")
    if collection is None:
        return None
    version = collection.find("latest")
    return sorted(version.aliases), version.metadata["config"], version.files["model.safetensors"]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png))).tolist()
