"""Upload of a run's or sweep's report to W&B; a later upload updates the same report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nn.errors import SaveError, UserError
from nn.io.files import atomic_write
from nn.io.paths import relpath
from nn.report.paths import is_run_dir, is_sweep_dir
from nn.report.run_data import RunData
from nn.report.sweep_data import SweepData
from nn.runs.reader import read_json
from nn.tracking.settings import require_credentials
from nn.tracking.wandb_logger import format_reason

REPORT_IDS_FILE = "wandb-report.json"
"""In the run or sweep directory: W&B report id by `ENTITY/PROJECT`."""


def prepare_report(folder: Path, wandb_path: str) -> Callable[[], str]:
    """Build the W&B report of a run or sweep.

    Returns:
        A function that uploads the report and returns its URL.
    """
    from nn.report.wandb_report import ReportTarget, build_run_report, build_sweep_report

    target = ReportTarget.parse(wandb_path)
    if not (is_run_dir(folder) or is_sweep_dir(folder)):
        raise UserError("--wandb: requires a single run or sweep directory.")
    require_credentials(f"--wandb={wandb_path}")
    os.environ.setdefault("WANDB_SILENT", "true")
    if is_sweep_dir(folder):
        report = build_sweep_report(SweepData(folder), target)
    else:
        report = build_run_report(RunData(folder), target)
    project, report_ids = f"{target.entity}/{target.project}", read_json(folder, REPORT_IDS_FILE)

    def send() -> str:
        report_id = report_ids.get(project)
        try:
            if isinstance(report_id, str):
                report.id = report_id
                with suppress(Exception):  # it may have been deleted in W&B
                    return str(report.save().url)
                report.id = ""
            report.save()
        except Exception as error:
            reason = format_reason(error)
            raise SaveError(f"--wandb={wandb_path}: W&B rejected the report: {reason}") from None
        try:
            atomic_write(
                folder / REPORT_IDS_FILE, json.dumps(report_ids | {project: report.id}).encode()
            )
        except OSError as error:
            raise SaveError(
                f"{relpath(folder / REPORT_IDS_FILE)} cannot be written: {error.strerror}; "
                f"the next upload will create a new report in place of updating {report.url}."
            ) from None
        return str(report.url)

    return send
