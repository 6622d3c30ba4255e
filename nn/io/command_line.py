"""Commands that a message suggests, written as the user started the present one."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

COMMANDS = ("train", "sweep", "report", "predict", "upload")


def format_command(command: str, *arguments: str) -> str:
    """Return a shell command such as `nn-train resume=DIR`, or `python scripts/train.py ...`."""
    return shlex.join([*_find_program(command), *arguments])


def _find_program(command: str) -> list[str]:
    """Find a command where the present one lies: a console command, or a script.

    A process that is neither, such as a notebook, gets the documented form.
    """
    started = Path(sys.argv[0])
    if started.name in [f"nn-{name}" for name in COMMANDS]:
        program = str(started.with_name(f"nn-{command}"))
        is_on_path = shutil.which(f"nn-{command}") == program
        return [f"nn-{command}" if is_on_path else program]
    if started.name in [f"{name}.py" for name in COMMANDS]:
        return ["python", str(started.with_name(f"{command}.py"))]
    script = Path("scripts", f"{command}.py")
    is_clone = (Path(__file__).parents[2] / script).is_file()
    return ["python", str(script)] if is_clone else [f"nn-{command}"]
