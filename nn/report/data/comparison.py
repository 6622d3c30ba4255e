"""A comparison of runs as plain JSON."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TypedDict

import numpy as np
from pydantic import JsonValue

from nn.errors import UserError, truncate
from nn.io.coerce import drop_none
from nn.io.serialization import JsonObject
from nn.report.data.predictions import SampleRecord, sample_record
from nn.report.data.run import RunReader, RunRecord
from nn.report.formatting import short_setting
from nn.report.paths import shorten_paths
from nn.runs.seeds import group_by_seed

MAX_DISAGREEMENTS = 48
"""Samples on which runs disagree in the details."""
BOOKKEEPING = ("tracking", "experiment", "debug", "checkpoint_every", "profile")
"""Prefixes of settings that have no influence on a run's results."""
MAX_SETTINGS_LENGTH = 80
"""Characters of the settings by which a group of runs is named."""
SAME_RUN_MESSAGE = "The same run is given twice; pass different runs to compare."


class DifferingSetting(TypedDict):
    """A setting that is not equal in all runs, with its value per run."""

    name: str
    values: list[JsonValue]


class ClassComparison(TypedDict):
    """The scores of a class per run; None where a run lacks the class or its score."""

    name: str
    f1: list[float | None]
    recall: list[float | None]


class ComparisonRecord(TypedDict):
    """Differences between runs; the runs themselves are in the reader's `runs`."""

    settings: list[DifferingSetting]
    classes: list[ClassComparison]


class ComparisonDetails(TypedDict):
    """The samples on which runs disagree."""

    runs: list[int]
    """Indices of the runs that were evaluated on the same samples."""
    num_samples: int
    num_disagreements: int
    disagreements: list[list[SampleRecord]]
    """Per sample and run in `runs`, those that most classify correctly first.

    Only the record of the first run may have an image.
    """


class ComparisonReader:
    """Compares different runs, which get distinct names."""

    def __init__(self, runs: Sequence[RunReader]) -> None:
        paths = [run.path for run in runs]
        if len(set(map(Path.resolve, paths))) < len(paths):
            raise UserError(SAME_RUN_MESSAGE)
        self.runs, self.run_names = list(runs), _get_distinct_names(paths)

    def update(self) -> bool:
        """Read what is new and return whether anything has changed.

        Raises:
            UserError: A directory is not that of a run any more.
        """
        changes = [run.update() for run in self.runs]
        return any(changes)

    @property
    def is_running(self) -> bool:
        """Whether any of the runs is running."""
        return any(run.is_running for run in self.runs)

    def record(self) -> ComparisonRecord:
        """Return the differences in settings and classes."""
        records = [run.record() for run in self.runs]
        return {
            "settings": find_differing_settings([flat_settings(record) for record in records]),
            "classes": _compare_classes(records),
        }

    def seed_groups(self) -> list[list[int]]:
        """Return the indices of the runs, with those together that differ in their seed only."""
        settings = self.record()["settings"]
        groups = group_by_seed(
            [{s["name"]: s["values"][index] for s in settings} for index in range(len(self.runs))]
        )
        return [[*group.seeds] for group in groups]

    def details(self) -> ComparisonDetails:
        """Return the samples on which runs disagree.

        Compared are the runs evaluated on the same samples as the first with predictions: the
        dataset and the labels are equal.
        """
        evaluated = [
            (index, run.summary.get("dataset/sha256"), run.predictions)
            for index, run in enumerate(self.runs)
            if run.predictions is not None
        ]
        comparable = [
            (index, predictions)
            for index, dataset, predictions in evaluated
            if dataset == evaluated[0][1]
            and np.array_equal(predictions.labels, evaluated[0][2].labels)
        ]
        if len(comparable) < 2:
            return {"runs": [], "num_samples": 0, "num_disagreements": 0, "disagreements": []}
        first = comparable[0][1]
        is_correct = np.array([p.probabilities.argmax(axis=1) == p.labels for _, p in comparable])
        num_correct = is_correct.sum(axis=0)
        disagreed = np.flatnonzero((num_correct > 0) & (num_correct < len(comparable)))
        order = disagreed[np.argsort(-num_correct[disagreed], kind="stable")]
        images = dict(zip(first.image_indices.tolist(), first.images, strict=True))
        images = images if first.has_images else {}
        with_image_first = sorted(order.tolist(), key=lambda sample: sample not in images)
        return {
            "runs": [index for index, _ in comparable],
            "num_samples": len(first.labels),
            "num_disagreements": len(disagreed),
            "disagreements": [
                [
                    sample_record(predictions, sample, image)
                    for (_, predictions), image in zip_longest(comparable, [images.get(sample)])
                ]
                for sample in with_image_first[:MAX_DISAGREEMENTS]
            ],
        }


def _compare_classes(records: Sequence[RunRecord]) -> list[ClassComparison]:
    """Compare the scores of classes by name, largest difference in F1 first."""
    scores = [{each["name"]: each for each in record["classes"]} for record in records]
    names = dict.fromkeys(name for classes in scores for name in classes)
    compared: list[ClassComparison] = [
        {
            "name": name,
            "f1": [run[name]["f1"] if name in run else None for run in scores],
            "recall": [run[name]["recall"] if name in run else None for run in scores],
        }
        for name in names
    ]
    return sorted(compared, key=lambda each: -_spread(each["f1"]))


def flat_settings(record: RunRecord) -> JsonObject:
    """Return all settings of a run by their dotted names."""
    return record["choices"] | record["hyperparameters"] | record["settings"]


def find_differing_settings(settings: Sequence[JsonObject]) -> list[DifferingSetting]:
    """Return the settings that are not equal in all runs, without bookkeeping and repetitions.

    A setting of a component that only repeats a hyperparameter, such as model.depth and depth, is
    left out.
    """
    keys = dict.fromkeys(key for flat in settings for key in flat)
    differing = {
        key: values
        for key in keys
        if "_target_" not in key and not key.startswith(BOOKKEEPING)
        for values in [[flat.get(key) for flat in settings]]
        if len(set(map(repr, values))) > 1
    }
    return [
        {"name": key, "values": values}
        for key, values in differing.items()
        if "." not in key or differing.get(key.rpartition(".")[2]) != values
    ]


def name_settings(names: Sequence[str], settings: Sequence[JsonObject]) -> list[str]:
    """Name the settings of runs, equally for runs that differ in nothing but their seed.

    Args:
        names: Distinct names of the runs, used where the settings have the same short text.
    """
    differing = find_differing_settings(settings)
    groups = group_by_seed(
        [{each["name"]: each["values"][index] for each in differing} for index in range(len(names))]
    )
    texts = [
        ", ".join(f"{k}={short_setting(v)}" for k, v in group.settings.items() if v is not None)
        for group in groups
    ]
    counts = Counter(text[:MAX_SETTINGS_LENGTH] for text in texts)
    result = list(names)
    for group, text in zip(groups, texts, strict=True):
        is_unique = text and counts[text[:MAX_SETTINGS_LENGTH]] == 1
        label = truncate(text, MAX_SETTINGS_LENGTH) if is_unique else names[min(group.seeds)]
        for index in group.seeds:
            result[index] = label
    return result


def _get_distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by their paths without the leading directories that all of them share."""
    absolute = [path.absolute() for path in paths]
    shared = Path(os.path.commonpath([path.parent for path in absolute]))
    if shared == Path("/"):
        return [shorten_paths(str(path)) for path in absolute]
    return [str(path.relative_to(shared)) for path in absolute]


def _spread(values: Sequence[float | None]) -> float:
    numbers = drop_none(values)
    return max(numbers) - min(numbers) if numbers else 0.0
