"""Factories of runs and sweeps for reports: trained in seconds, or written without training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nn.config.compose import compose_config
from nn.io.serialization import to_json
from nn.runs.runner import run
from nn.sweeps.outcome import read_objective
from nn.sweeps.schema import read_sweep_config
from nn.sweeps.study import SweepStudy
from nn.sweeps.trials import SWEEP_FORMAT_VERSION

QUICK_OVERRIDES = ("tracking=disabled", "model.hidden=[12]", "epochs=3", "dataset.max_samples=600")
XSS_STRING = "<img src=x onerror=alert(1)>\"'&${lr}%{x}</script>"

SWEEP_CONFIG = {
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.5},
        "optimizer": {"values": ["sgd", "adam", "momentum"]},
        "depth": {"values": [1, 2, 3]},
    },
}


def make_run(folder: Path, *overrides: str) -> Path:
    """Train a small network and return its run directory."""
    run(compose_config([*QUICK_OVERRIDES, *overrides]), folder)
    return folder


def update_json(folder: Path, name: str, **changes: Any) -> None:
    """Update a JSON file of a run."""
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def make_sweep(
    folder: Path,
    trials: int = 12,
    epochs: int = 6,
    sweep_config: Mapping[str, Any] | None = None,
    states: Sequence[str] = ("finished",),
    best_loss: float = 0.05,
    replicates: int = 1,
) -> Path:
    """Write a sweep as the runner does, trial by trial, without training.

    Each of `trials` points has as many runs as there are replicates, whose losses differ.
    """
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep_config or SWEEP_CONFIG))
    (folder / "settings.json").write_text(
        json.dumps({"format_version": SWEEP_FORMAT_VERSION, "seed": 0, "overrides": ["epochs=6"]})
    )
    study = SweepStudy(read_sweep_config(folder / "sweep.yaml"), folder, 0)
    study.set_replicates(replicates, racing=False, first_seed=0)
    for number in range(trials * replicates):
        study.ask()
        status = states[number % len(states)]
        trial_dir = study.get_trial_dir(number)
        trial_dir.mkdir(parents=True)
        point = study.get_point(number)
        lr, seed = point["lr"], study.get_seed(number) or 0
        assert isinstance(lr, float)
        min_loss = best_loss + abs(math.log10(lr) + 1.5) / 5 + 0.002 * seed * (1 + number % 4)
        num_epochs = epochs if status == "finished" else max(1, epochs // 3)
        lines = [
            to_json(make_history_record(epoch, min_loss)) for epoch in range(1, num_epochs + 1)
        ]
        (trial_dir / "history.jsonl").write_text("\n".join(lines) + "\n")
        if status != "running":
            summary = {
                "status": status,
                "test/accuracy": 1 - min_loss / 4,
                "seconds": 0.2 * num_epochs,
            }
            if status == "paused":
                summary |= {"test/accuracy": None, "epochs": num_epochs}
            (trial_dir / "summary.json").write_text(to_json(summary))
        if status not in ("running", "paused"):
            study.tell(number, status, "out of <b>memory</b>" if status == "failed" else None)
    for number in range(trials * replicates):
        if states[number % len(states)] == "paused":
            pause_trial(study, number, max(1, epochs // 3))
    return folder


def pause_trial(study: SweepStudy, number: int, epoch: int) -> None:
    """Record that a trial is paused, with its best value so far."""
    study._set_user_attrs(
        number,
        objective=read_objective(study.sweep.metric, study.get_trial_dir(number)),
        epochs=epoch,
        status="paused",
    )
    study.refresh()


def make_history_record(epoch: int, min_loss: float) -> dict[str, float]:
    """Return a history record."""
    loss = min_loss * (1 + 3 * math.exp(-epoch / 2)) * (1 + 0.05 * math.sin(7 * epoch))
    return {
        "epoch": epoch, "train/loss": 0.8 * loss, "train/accuracy": 1 - loss / 9,
        "val/loss": loss, "val/accuracy": 1 - loss / 8, "lr": 0.05,
        "norm/gradient": 1.0 / epoch, "norm/weights": 10.0 + epoch,
        "seconds": 0.1, "seconds/validation": 0.01, "samples_per_second": 1e4,
    }  # fmt: skip


def append_epoch(folder: Path, epoch: int, end: str = "\n") -> None:
    """Append a record to a run's history, as training does."""
    with (folder / "history.jsonl").open("a") as file:
        file.write(to_json(make_history_record(epoch, 0.1)) + end)


def replace_classes(folder: Path, classes: int = 27, samples: int = 400) -> list[str]:
    """Replace a run's results by those of many classes with unusual names."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, (classes, classes)) + 20 * np.eye(classes, dtype=int)
    names = [XSS_STRING, *(chr(97 + each % 26) * (1 + each % 9) for each in range(1, classes))]
    scores = rng.uniform(0.5, 1, (3, classes)).tolist()
    update_json(
        folder,
        "summary.json",
        confusion_matrix=counts.tolist(),
        class_names=names,
        **dict(zip(("precision", "recall", "f1"), scores, strict=True)),
    )
    from nn.predictions import Predictions
    from nn.runs import checkpoint
    from nn.runs.training_state import Snapshot

    labels = rng.integers(0, classes, samples)
    logits = rng.normal(size=(samples, classes)) + 3 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = np.arange(min(samples, 200))
    predictions = Predictions(
        labels, probabilities.astype(np.float32), ids, rng.normal(size=(len(ids), 8)).astype("f"),
        ids, rng.integers(0, 255, (len(ids), 3, 12, 10)).astype(np.uint8),
    )  # fmt: skip
    checkpoint.save(
        Path(folder) / "predictions.safetensors", Snapshot(dict(predictions.arrays), {})
    )
    return names
