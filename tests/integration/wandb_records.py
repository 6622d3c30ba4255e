"""The records of an offline W&B run, read by W&B's own client."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.conftest import WorkingDirectory

CALL_SCRIPT = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"


def read_wandb_records(workdir: WorkingDirectory, folder: Path) -> list[dict[str, Any]]:
    """Read all records of an offline run."""
    wandb = str(Path(sys.executable).with_name("wandb"))
    result = workdir.run("-c", CALL_SCRIPT, wandb, "leet", "inspect", "--json", str(folder))
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def records_of_type(records: list[dict[str, Any]], record_type: str) -> list[Any]:
    return [record[record_type] for record in records if record["type"] == record_type]
