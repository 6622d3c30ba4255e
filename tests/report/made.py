"""Factories of runs and sweeps for reports: trained in seconds, or written without training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import yaml

from nn.config.compose import compose_config
from nn.io.serialization import to_json
from nn.runs.runner import run
from nn.sweeps.schema import read_sweep_config
from nn.sweeps.study import SweepStudy
from nn.sweeps.trials import SWEEP_FORMAT_VERSION

QUICK = ("tracking=disabled", "model.hidden=[12]", "epochs=3", "dataset.max_samples=600")
NASTY = "<img src=x onerror=alert(1)>\"'&${lr}%{x}</script>"

SWEEP = {
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.5},
        "optimizer": {"values": ["sgd", "adam", "momentum"]},
        "depth": {"values": [1, 2, 3]},
    },
}


def made_run(folder, *words):
    """Train a small network and return its run directory."""
    run(compose_config([*QUICK, *words]), folder)
    return folder


def changed(folder, name, **content):
    """Update a JSON file of a run."""
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | content))


def made_sweep(folder, trials=12, epochs=6, content=None, states=("finished",), point=0.05):
    """Write a sweep as the runner does, trial by trial, without training."""
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content or SWEEP))
    (folder / "settings.json").write_text(
        json.dumps({"format_version": SWEEP_FORMAT_VERSION, "seed": 0, "overrides": ["epochs=6"]})
    )
    study = SweepStudy(read_sweep_config(folder / "sweep.yaml"), folder, 0)
    for number in range(trials):
        study.ask(None)
        status = states[number % len(states)]
        place = study.get_trial_dir(number)
        place.mkdir(parents=True)
        values = study.get_point(number)
        floor = point + abs(math.log10(values["lr"]) + 1.5) / 5
        done = epochs if status == "finished" else max(1, epochs // 3)
        lines = [to_json(record(epoch, floor)) for epoch in range(1, done + 1)]
        (place / "history.jsonl").write_text("\n".join(lines) + "\n")
        if status != "running":
            summary = {"status": status, "test/accuracy": 1 - floor / 4, "seconds": 0.2 * done}
            (place / "summary.json").write_text(to_json(summary))
            study.tell(number, status, "out of <b>memory</b>" if status == "failed" else None)
    return folder


def record(epoch, floor):
    """Return a history record."""
    loss = floor * (1 + 3 * math.exp(-epoch / 2)) * (1 + 0.05 * math.sin(7 * epoch))
    return {
        "epoch": epoch, "train/loss": 0.8 * loss, "train/accuracy": 1 - loss / 9,
        "val/loss": loss, "val/accuracy": 1 - loss / 8, "lr": 0.05,
        "norm/gradient": 1.0 / epoch, "norm/weights": 10.0 + epoch,
        "seconds": 0.1, "seconds/validation": 0.01, "samples_per_second": 1e4,
    }  # fmt: skip


def of_letters(folder, classes=27, samples=400):
    """Replace a run's results by those of many classes with unusual names."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, (classes, classes)) + 20 * np.eye(classes, dtype=int)
    names = [NASTY, *(chr(97 + each % 26) * (1 + each % 9) for each in range(1, classes))]
    scores = rng.uniform(0.5, 1, (3, classes)).tolist()
    changed(
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
    some = np.arange(min(samples, 200))
    read = Predictions(
        labels, probabilities.astype(np.float32), some, rng.normal(size=(len(some), 8)).astype("f"),
        some, rng.integers(0, 255, (len(some), 3, 12, 10)).astype(np.uint8),
    )  # fmt: skip
    checkpoint.save(Path(folder) / "predictions.safetensors", Snapshot(dict(read.arrays), {}))
    return names
