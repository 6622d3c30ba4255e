"""Redraw the picture of the README: the output of the first command on a terminal."""

import io
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = "python scripts/train.py lr=0.055"

os.chdir(Path(__file__).resolve().parents[1])
shown = subprocess.run(
    [sys.executable, *COMMAND.split()[1:]],
    env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "100", "TERM": "xterm-256color"},
    capture_output=True,
    text=True,
    check=True,
).stdout
before_bar, *_, after_bar = shown.split("\x1b[?25l")[0], shown.split("\x1b[2K")[-1]
console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
console.print(f"[bold]$ {COMMAND}[/bold]", highlight=False)
console.print(Text.from_ansi(before_bar.strip()), Text.from_ansi(after_bar.rstrip()), sep="\n")
console.save_svg(".github/training.svg", title="a neural network in NumPy")
