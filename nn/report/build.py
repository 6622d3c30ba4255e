"""Build the reports that scripts/report.py is asked for, and write them all or none."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from nn.errors import UserError
from nn.io.files import makedirs_with_rollback, staged_files
from nn.io.paths import relpath
from nn.report import publish, run_page
from nn.report.markup import element
from nn.report.page import GENERATOR, Page
from nn.report.paths import REPORT_FILE, is_run_dir, is_sweep_dir, relative_url
from nn.report.run_data import RunData

COMPARISON_FILE = "comparison.html"


@dataclass(frozen=True)
class ReportOptions:
    """Command-line options of scripts/report.py."""

    folders: Sequence[Path]
    output: Path | None  # the page's file; None for the default
    open_browser: bool
    num_trial_pages: int | None  # of a sweep's best trials
    png_dir: Path | None  # figures in place of a page
    wandb_path: str | None = None  # ENTITY/PROJECT[/SWEEP_ID], a W&B report in place of a page


def build_report(options: ReportOptions) -> None:
    """Build the report that fits the directories; write only once all of it is built."""
    for folder in options.folders:
        if not folder.is_dir():
            raise UserError(f"{relpath(folder)}: no such directory.")
    folder, several = options.folders[0], len(options.folders) > 1
    sweep = not several and is_sweep_dir(folder)
    if options.wandb_path is not None and several:
        raise UserError("--wandb: requires a single run or sweep directory.")
    if options.num_trial_pages is not None and not sweep:
        raise UserError("--top-runs: requires a single sweep directory.")
    output = options.output
    if output is None and options.wandb_path is None and options.png_dir is None:
        output = Path(COMPARISON_FILE) if several else folder / REPORT_FILE
    send = (
        None if options.wandb_path is None else publish.prepare_report(folder, options.wandb_path)
    )

    def contents() -> Iterator[tuple[Path, bytes]]:
        if options.png_dir:
            yield from _render_pngs(options.folders, options.png_dir)
        if output:
            yield from _render_pages(options.folders, output, options.num_trial_pages or 0)

    with (
        makedirs_with_rollback(options.png_dir) if options.png_dir else nullcontext(),
        staged_files(contents()) as move,
    ):
        if send:
            print(send())
        written = move()
    for path in written:
        print(relpath(path))
    if options.open_browser and output:
        webbrowser.open(output.absolute().as_uri())


def _render_pngs(folders: Sequence[Path], png_dir: Path) -> Iterator[tuple[Path, bytes]]:
    """Render the figures of a run or a sweep."""
    from nn.report import pictures, run_pictures, sweep_pictures
    from nn.report.sweep_data import SweepData

    folder = folders[0]
    if len(folders) > 1 or not (is_run_dir(folder) or is_sweep_dir(folder)):
        raise UserError("--png-dir: requires a single run or sweep directory.")
    if is_sweep_dir(folder):
        sweep = SweepData(folder)
        yield from pictures.render_pngs(lambda: sweep_pictures.draw_sweep_figures(sweep), png_dir)
    else:
        run = RunData(folder)
        yield from pictures.render_pngs(lambda: run_pictures.draw_run_figures(run), png_dir)


def _render_pages(
    folders: Sequence[Path], output: Path, num_trial_pages: int
) -> Iterator[tuple[Path, bytes]]:
    """Render the page of a run, sweep, directory or comparison, and the trial pages."""
    _check_overwritable(output)
    folder = folders[0]
    if len(folders) > 1:
        from nn.report import comparison_page

        yield (
            output,
            comparison_page.build_comparison_page(
                comparison_page.Comparison(folders), output
            ).to_bytes(),
        )
    elif is_sweep_dir(folder):
        yield from _render_sweep_pages(folder, output, num_trial_pages)
    elif is_run_dir(folder):
        yield output, run_page.build_run_page(RunData(folder)).to_bytes()
    else:
        yield output, _build_index(folder, output).to_bytes()


def _build_index(folder: Path, output: Path) -> Page:
    from nn.report import index_page

    entries, problems = index_page.read_entries(folder)
    if not entries:
        reason = f": {problems[0]}" if problems else "."
        raise UserError(f"{relpath(folder)}: no runs or sweeps found{reason}")
    return index_page.build_index_page(folder, entries, problems, output)


def _render_sweep_pages(
    folder: Path, output: Path, num_trial_pages: int
) -> Iterator[tuple[Path, bytes]]:
    """Render the pages of a sweep's best trials and of the sweep itself."""
    from nn.report import sweep_page
    from nn.report.sweep_data import SweepData

    sweep = SweepData(folder)
    best = sweep.ranked_trials[:num_trial_pages]
    for trial in best:
        _check_overwritable(trial.folder / REPORT_FILE)
    for trial in best:
        back = element(
            "a", f"← {sweep.title}", href=relative_url(output, trial.folder / REPORT_FILE)
        )
        page = run_page.build_run_page(RunData(trial.folder), element("p", back, class_="back"))
        yield trial.folder / REPORT_FILE, page.to_bytes()
    rendered = {trial.number for trial in best}
    pages = {trial.number: trial.folder / REPORT_FILE for trial in sweep.trials}
    linked_pages = {n: page for n, page in pages.items() if n in rendered or page.exists()}
    yield output, sweep_page.build_sweep_page(sweep, output, linked_pages).to_bytes()


def _check_overwritable(output: Path) -> None:
    """Refuse to overwrite a file that was not generated by this program."""
    try:
        with output.open("rb") as file:
            is_generated = f'content="{GENERATOR}"'.encode() in file.read(500)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"{relpath(output)}: nothing can be written there: {error.strerror}."
        ) from None
    if not is_generated:
        raise UserError(
            f"{relpath(output)}: not a generated report; choose another file with --output."
        )
