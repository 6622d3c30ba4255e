"""The summary of a run, as summary.json has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Required, TypedDict, TypeGuard

FinalScores = TypedDict(
    "FinalScores",
    {
        "test/accuracy": float | None,
        "test/loss": float | None,
        "test/top3": float,
        "test/calibration_error": float,
        "val/accuracy": float | None,
        "val/loss": float | None,
        "val/top3": float,
        "val/calibration_error": float,
        "precision": list[float | None],
        "recall": list[float | None],
        "f1": list[float | None],
        "confusion_matrix": list[list[int]] | None,
    },
    total=False,
)
"""The evaluation of the selected weights on the test set, or without one on the validation set."""
RunResult = TypedDict(
    "RunResult",
    {
        "status": Required[str],
        "epochs": Required[int],
        "best/epoch": int | None,
        "best/val/loss": float | None,
        "best/val/accuracy": float | None,
        "num_parameters": int,
        "weights/sha256": str,
        "dataset/sha256": str,
        "seconds": float,
        "class_names": list[str],
        "sessions": list[list[str]],
    },
    total=False,
)


class Summary(RunResult, FinalScores):
    """The result of a run as far as it got; scores that it did not reach are None or missing."""


def is_summary(summary: Mapping[str, object]) -> TypeGuard[Summary]:
    """Whether a summary that was read back has what W&B needs; it is empty before the run ends."""
    return isinstance(summary.get("status"), str) and type(summary.get("epochs")) is int
