"""From what the command line asks for to the pages that it gets."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nn.errors import Mistake
from nn.report import run_page
from nn.report.page import Page
from nn.report.run_story import RunStory
from nn.tracking.files import write_whole
from nn.tracking.places import short


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    folders: Sequence[Path]
    output: Path | None
    show: bool
    pages: int | None
    pictures: Path | None


def make(wanted: Wanted) -> None:
    """Make the page that fits what is in the folders."""
    folder = wanted.folders[0]
    output = wanted.output or folder / "report.html"
    write(run_page.page(RunStory(folder)), output)
    if wanted.show:
        webbrowser.open(output.absolute().as_uri())


def write(page: Page, output: Path) -> None:
    """Write a page, in the place of one that was made before but of nothing else."""
    try:
        write_whole(output, page.encoded())
    except OSError as error:
        raise Mistake(f"{short(output)}: nothing can be written there: {error.strerror}.") from None
    print(short(output))
