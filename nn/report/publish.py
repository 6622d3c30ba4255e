"""Upload of a run's or sweep's report to W&B; a later upload updates the same report."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nn.errors import SaveError, UserError
from nn.io.files import atomic_write
from nn.io.paths import relpath
from nn.report.data.run import RunReader
from nn.report.data.sweep import SweepReader
from nn.report.paths import is_run_dir, is_sweep_dir
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
    entity, project, sweep_id = parse_wandb_path(wandb_path)
    if not (is_run_dir(folder) or is_sweep_dir(folder)):
        raise UserError("--wandb: requires a single run or sweep directory.")
    require_credentials(f"--wandb={wandb_path}")
    os.environ.setdefault("WANDB_SILENT", "true")
    from nn.report import wandb_report  # slow, so after the checks

    if is_sweep_dir(folder):
        report = wandb_report.build_sweep_report(SweepReader(folder), entity, project, sweep_id)
    else:
        report = wandb_report.build_run_report(RunReader(folder), entity, project)
    key, report_ids = f"{entity}/{project}", read_json(folder, REPORT_IDS_FILE)

    def send() -> str:
        report_id = report_ids.get(key)
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
                folder / REPORT_IDS_FILE, json.dumps(report_ids | {key: report.id}).encode()
            )
        except OSError as error:
            raise SaveError(
                f"{relpath(folder / REPORT_IDS_FILE)} cannot be written: {error.strerror}; "
                f"the next upload will create a new report in place of updating {report.url}."
            ) from None
        return str(report.url)

    return send


def parse_wandb_path(text: str) -> tuple[str, str, str | None]:
    """Parse `ENTITY/PROJECT` or `ENTITY/PROJECT/SWEEP_ID`."""
    match = re.fullmatch(r"([\w .-]+)/([\w .-]+)(?:/([\w .-]+))?", text)
    if match is None:
        raise UserError(f"--wandb {text}: write ENTITY/PROJECT or ENTITY/PROJECT/SWEEP_ID.")
    return match[1], match[2], match[3]
