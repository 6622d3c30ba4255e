"""From what the command line asks for to the pages that it gets."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nn.errors import Mistake
from nn.report import run_page
from nn.report.links import is_run, is_sweep, linked
from nn.report.markup import element
from nn.report.page import GENERATOR, Page
from nn.report.publish import publish
from nn.report.run_story import RunStory
from nn.tracking.files import write_whole
from nn.tracking.places import short

PAGE = "report.html"
COMPARISON = "comparison.html"


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    folders: Sequence[Path]
    output: Path | None
    show: bool
    pages: int | None
    pictures: Path | None
    wandb: str | None = None


def make(wanted: Wanted) -> None:
    """Make what fits what is in the folders."""
    for folder in wanted.folders:
        if not folder.is_dir():
            raise Mistake(f"{short(folder)}: there is no such folder.")
    folder, several = wanted.folders[0], len(wanted.folders) > 1
    sweep = not several and is_sweep(folder)
    if wanted.wandb is not None:
        if several:
            raise Mistake("--wandb makes the report of one run or one sweep.")
        print(publish(folder, wanted.wandb))
        if wanted.output is None and not wanted.pictures:
            return
    if wanted.pages is not None and not sweep:
        raise Mistake("--pages makes pages of a sweep's best trials; this is no sweep.")
    if wanted.pictures:
        _pictures(wanted.folders, wanted.pictures)
        if wanted.output is None:
            return
    output = wanted.output or (Path(COMPARISON) if several else folder / PAGE)
    _refuse_foreign(output)
    if several:
        _comparison(wanted.folders, output)
    elif sweep:
        _sweep(folder, output, wanted.pages or 0)
    elif is_run(folder):
        write(run_page.page(RunStory(folder)), output)
    else:
        _index(folder, output)
    if wanted.show:
        webbrowser.open(output.absolute().as_uri())


def _pictures(folders: Sequence[Path], place: Path) -> None:
    """Draw the pictures of a run or a sweep."""
    from nn.report import pictures, run_pictures, sweep_pictures
    from nn.report.sweep_story import SweepStory

    folder = folders[0]
    if len(folders) > 1 or not (is_run(folder) or is_sweep(folder)):
        raise Mistake("--png draws the pictures of one run or one sweep.")
    if is_sweep(folder):
        sweep = SweepStory(folder)
        pictures.write(lambda: sweep_pictures.of_sweep(sweep), place)
    else:
        run = RunStory(folder)
        pictures.write(lambda: run_pictures.of_run(run), place)


def _comparison(folders: Sequence[Path], output: Path) -> None:
    from nn.report import comparison_page

    write(comparison_page.page(comparison_page.Comparison(folders), output), output)


def _index(folder: Path, output: Path) -> None:
    from nn.report import index_page

    found, problems = index_page.entries(folder)
    if not found:
        reason = f": {problems[0]}" if problems else "."
        raise Mistake(f"{short(folder)}: there is no run and no sweep in this folder{reason}")
    write(index_page.page(folder, found, problems, output), output)


def _sweep(folder: Path, output: Path, pages: int) -> None:
    """Make the page of a sweep, and those of its best trials."""
    from nn.report import sweep_page
    from nn.report.sweep_story import SweepStory

    story = SweepStory(folder)
    best = story.ranked[:pages]
    for trial in best:
        _refuse_foreign(trial.folder / PAGE)
    for trial in best:
        back = element("a", f"← {story.title}", href=linked(output, trial.folder / PAGE))
        made = run_page.page(RunStory(trial.folder), element("p", back, class_="back"))
        write(made, trial.folder / PAGE)
    known = {trial.number: trial.folder / PAGE for trial in story.trials}
    write(sweep_page.page(story, output, {n: p for n, p in known.items() if p.exists()}), output)


def write(page: Page, output: Path) -> None:
    """Write a page, and say where it is."""
    try:
        write_whole(output, page.encoded())
    except OSError as error:
        raise Mistake(f"{short(output)}: nothing can be written there: {error.strerror}.") from None
    print(short(output))


def _refuse_foreign(output: Path) -> None:
    """Refuse to write over a file that is no page of this program's."""
    try:
        with output.open("rb") as file:
            ours = f'content="{GENERATOR}"'.encode() in file.read(500)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Mistake(f"{short(output)}: nothing can be written there: {error.strerror}.") from None
    if not ours:
        raise Mistake(
            f"{short(output)} is no page that was made here; --output names another file."
        )
