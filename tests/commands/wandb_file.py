"""The records of an offline W&B run, read by W&B's own client."""

from __future__ import annotations

import json
import sys
from pathlib import Path

CALL = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"


def wandb_records(workplace, folder):
    """Read all records of an offline run."""
    wandb = str(Path(sys.executable).with_name("wandb"))
    read = workplace.run("-c", CALL, wandb, "leet", "inspect", "--json", str(folder))
    assert read.returncode == 0, read.stderr
    return [json.loads(line) for line in read.stdout.splitlines()]


def of_type(records, kind):
    return [record[kind] for record in records if record["type"] == kind]
