"""A story as a report in W&B: made once, and the same one again when it is told again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nn.errors import Mistake, NotSaved
from nn.io.files import write_whole
from nn.io.paths import short
from nn.report.links import is_run, is_sweep
from nn.report.run_data import RunStory
from nn.report.sweep_data import SweepStory
from nn.runs.reader import read_json
from nn.tracking.settings import require_credentials

KNOWN = "wandb-report.json"
"""A file beside the story, with the reports that were made of it by their project."""


def prepare(folder: Path, where: str) -> Callable[[], str]:
    """Make the report of a run or a sweep; what this returns sends it and gives its address."""
    from nn.report.wandb_report import Place, of_run, of_sweep

    place = Place.named(where)
    if not (is_run(folder) or is_sweep(folder)):
        raise Mistake("--wandb makes the report of one run or one sweep.")
    require_credentials(f"--wandb={where}")
    os.environ.setdefault("WANDB_SILENT", "true")
    if is_sweep(folder):
        report = of_sweep(SweepStory(folder), place)
    else:
        report = of_run(RunStory(folder), place)
    project, known = f"{place.entity}/{place.project}", read_json(folder, KNOWN)

    def send() -> str:
        earlier = known.get(project)
        try:
            if isinstance(earlier, str):
                report.id = earlier
                with suppress(Exception):  # it may have been deleted there
                    return str(report.save().url)
                report.id = ""
            report.save()
        except Exception as error:
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise NotSaved(f"--wandb={where}: W&B did not take the report: {reason}") from None
        try:
            write_whole(folder / KNOWN, json.dumps(known | {project: report.id}).encode())
        except OSError as error:
            raise NotSaved(
                f"{short(folder / KNOWN)} cannot be written, so the next report will be another "
                f"one than {report.url}: {error.strerror}."
            ) from None
        return str(report.url)

    return send
