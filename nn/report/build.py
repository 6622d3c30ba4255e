"""From what the command line asks for to the pages that it gets."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from nn.errors import Mistake
from nn.io.files import new_folder, written_together
from nn.io.paths import short
from nn.report import publish, run_page
from nn.report.links import is_run, is_sweep, linked
from nn.report.markup import element
from nn.report.page import GENERATOR, Page
from nn.report.run_data import RunStory

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
    """Make what fits what is in the folders; all of it is made before anything is written."""
    for folder in wanted.folders:
        if not folder.is_dir():
            raise Mistake(f"{short(folder)}: there is no such folder.")
    folder, several = wanted.folders[0], len(wanted.folders) > 1
    sweep = not several and is_sweep(folder)
    if wanted.wandb is not None and several:
        raise Mistake("--wandb makes the report of one run or one sweep.")
    if wanted.pages is not None and not sweep:
        raise Mistake("--pages makes pages of a sweep's best trials; this is no sweep.")
    output = wanted.output
    if output is None and wanted.wandb is None and wanted.pictures is None:
        output = Path(COMPARISON) if several else folder / PAGE
    send = None if wanted.wandb is None else publish.prepare(folder, wanted.wandb)

    def contents() -> Iterator[tuple[Path, bytes]]:
        if wanted.pictures:
            yield from _pictures(wanted.folders, wanted.pictures)
        if output:
            yield from _pages(wanted.folders, output, wanted.pages or 0)

    with (
        new_folder(wanted.pictures) if wanted.pictures else nullcontext(),
        written_together(contents()) as move,
    ):
        if send:
            print(send())
        written = move()
    for path in written:
        print(short(path))
    if wanted.show and output:
        webbrowser.open(output.absolute().as_uri())


def _pictures(folders: Sequence[Path], place: Path) -> Iterator[tuple[Path, bytes]]:
    """Draw the pictures of a run or a sweep."""
    from nn.report import pictures, run_pictures, sweep_pictures
    from nn.report.sweep_data import SweepStory

    folder = folders[0]
    if len(folders) > 1 or not (is_run(folder) or is_sweep(folder)):
        raise Mistake("--png draws the pictures of one run or one sweep.")
    if is_sweep(folder):
        sweep = SweepStory(folder)
        yield from pictures.encoded_all(lambda: sweep_pictures.of_sweep(sweep), place)
    else:
        run = RunStory(folder)
        yield from pictures.encoded_all(lambda: run_pictures.of_run(run), place)


def _pages(folders: Sequence[Path], output: Path, pages: int) -> Iterator[tuple[Path, bytes]]:
    """Make the page of what is in the folders, and the pages that belong to it."""
    _refuse_foreign(output)
    folder = folders[0]
    if len(folders) > 1:
        from nn.report import comparison_page

        yield output, comparison_page.page(comparison_page.Comparison(folders), output).encoded()
    elif is_sweep(folder):
        yield from _sweep(folder, output, pages)
    elif is_run(folder):
        yield output, run_page.page(RunStory(folder)).encoded()
    else:
        yield output, _index(folder, output).encoded()


def _index(folder: Path, output: Path) -> Page:
    from nn.report import index_page

    found, problems = index_page.entries(folder)
    if not found:
        reason = f": {problems[0]}" if problems else "."
        raise Mistake(f"{short(folder)}: there is no run and no sweep in this folder{reason}")
    return index_page.page(folder, found, problems, output)


def _sweep(folder: Path, output: Path, pages: int) -> Iterator[tuple[Path, bytes]]:
    """Make the page of a sweep, and those of its best trials."""
    from nn.report import sweep_page
    from nn.report.sweep_data import SweepStory

    story = SweepStory(folder)
    best = story.ranked[:pages]
    for trial in best:
        _refuse_foreign(trial.folder / PAGE)
    for trial in best:
        back = element("a", f"← {story.title}", href=linked(output, trial.folder / PAGE))
        made = run_page.page(RunStory(trial.folder), element("p", back, class_="back"))
        yield trial.folder / PAGE, made.encoded()
    shown = {trial.number for trial in best}
    known = {trial.number: trial.folder / PAGE for trial in story.trials}
    linked_pages = {n: page for n, page in known.items() if n in shown or page.exists()}
    yield output, sweep_page.page(story, output, linked_pages).encoded()


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
