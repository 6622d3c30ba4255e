"""A story as a report in W&B: made once, and the same one again when it is told again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nn.errors import SaveError, UserError
from nn.io.files import atomic_write
from nn.io.paths import relpath
from nn.report.links import is_run_dir, is_sweep_dir
from nn.report.run_data import RunData
from nn.report.sweep_data import SweepData
from nn.runs.reader import read_json
from nn.tracking.settings import require_credentials

REPORT_IDS_FILE = "wandb-report.json"
"""A file beside the story, with the reports that were made of it by their project."""


def prepare_report(folder: Path, wandb_path: str) -> Callable[[], str]:
    """Make the report of a run or a sweep; what this returns sends it and gives its address."""
    from nn.report.wandb_report import ReportTarget, build_run_report, build_sweep_report

    place = ReportTarget.parse(wandb_path)
    if not (is_run_dir(folder) or is_sweep_dir(folder)):
        raise UserError("--wandb makes the report of one run or one sweep.")
    require_credentials(f"--wandb={wandb_path}")
    os.environ.setdefault("WANDB_SILENT", "true")
    if is_sweep_dir(folder):
        report = build_sweep_report(SweepData(folder), place)
    else:
        report = build_run_report(RunData(folder), place)
    project, known = f"{place.entity}/{place.project}", read_json(folder, REPORT_IDS_FILE)

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
            raise SaveError(
                f"--wandb={wandb_path}: W&B did not take the report: {reason}"
            ) from None
        try:
            atomic_write(
                folder / REPORT_IDS_FILE, json.dumps(known | {project: report.id}).encode()
            )
        except OSError as error:
            raise SaveError(
                f"{relpath(folder / REPORT_IDS_FILE)} cannot be written, "
                "so the next report will be another "
                f"one than {report.url}: {error.strerror}."
            ) from None
        return str(report.url)

    return send
