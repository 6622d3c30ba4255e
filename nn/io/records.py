"""The summary of a run, as summary.json has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict, TypeGuard

Summary = TypedDict(
    "Summary",
    {
        "status": str,
        "test/accuracy": NotRequired[float | None],
        "test/loss": NotRequired[float | None],
        "test/top3": NotRequired[float],
        "test/calibration_error": NotRequired[float],
        "val/accuracy": NotRequired[float | None],
        "val/loss": NotRequired[float | None],
        "val/top3": NotRequired[float],
        "val/calibration_error": NotRequired[float],
        "best/epoch": NotRequired[int | None],
        "best/val/loss": NotRequired[float | None],
        "best/val/accuracy": NotRequired[float | None],
        "epochs": int,
        "num_parameters": NotRequired[int],
        "weights/sha256": NotRequired[str],
        "dataset/sha256": NotRequired[str],
        "seconds": NotRequired[float],
        "precision": NotRequired[list[float | None]],
        "recall": NotRequired[list[float | None]],
        "f1": NotRequired[list[float | None]],
        "confusion_matrix": NotRequired[list[list[int]] | None],
        "class_names": NotRequired[list[str]],
        "sessions": NotRequired[list[list[str]]],
    },
)


def is_summary(summary: Mapping[str, object]) -> TypeGuard[Summary]:
    """Whether a summary that was read back has what W&B needs; it is empty before the run ends."""
    return isinstance(summary.get("status"), str) and type(summary.get("epochs")) is int
