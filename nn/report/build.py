"""Build the reports that scripts/report.py is asked for, and write them all or none."""

from __future__ import annotations

import webbrowser
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from nn.errors import UserError
from nn.io.files import makedirs_with_rollback, staged_files
from nn.io.paths import relpath
from nn.report.data.comparison import ComparisonReader
from nn.report.data.index import IndexReader
from nn.report.data.run import RunReader
from nn.report.data.sweep import SweepReader
from nn.report.data.wandb_run import WandbRunReader
from nn.report.export import FORMATTERS, build_score_table
from nn.report.page import GENERATOR, Page
from nn.report.pages.comparison import build_comparison_page
from nn.report.pages.index import build_index_page
from nn.report.pages.run import build_run_page
from nn.report.pages.sweep import build_sweep_page
from nn.report.pages.wandb_run import build_wandb_run_page
from nn.report.paths import (
    REPORT_FILE,
    PageUrl,
    is_run_dir,
    is_sweep_dir,
    is_wandb_run_dir,
    relative_url,
)

COMPARISON_FILE = "comparison.html"


@dataclass(frozen=True)
class ReportOptions:
    """Command-line options of scripts/report.py."""

    folders: Sequence[Path]
    output: Path | None = None  # the page's file; None for the default
    open_browser: bool = False
    num_trial_pages: int | None = None  # of a sweep's best trials, or rows of a table
    png_dir: Path | None = None  # figures in place of a page
    wandb_path: str | None = None  # ENTITY/PROJECT[/SWEEP_ID], a W&B report in place of a page
    tables: Mapping[str, Path] = field(default_factory=dict, kw_only=True)
    """Files by format, in place of a page."""


def build_report(options: ReportOptions) -> None:
    """Build the report that fits the directories; write only once all of it is built."""
    for folder in options.folders:
        if not folder.is_dir():
            raise UserError(f"{relpath(folder)}: no such directory.")
    folder, several = options.folders[0], len(options.folders) > 1
    if options.wandb_path is not None and several:
        raise UserError("--wandb: requires a single run or sweep directory.")
    has_page_per_trial = is_sweep_dir(folder) and not several
    if options.num_trial_pages is not None and not has_page_per_trial and not options.tables:
        raise UserError("--top-runs: requires a single sweep directory.")
    for name, path in options.tables.items():
        suffix, _ = FORMATTERS[name]
        if path.suffix != suffix:  # overwriting is limited to files of the kind
            raise UserError(f"--{name}={path}: the file's name must end in {suffix}.")
    output = options.output
    has_page = options.wandb_path is None and options.png_dir is None and not options.tables
    if output is None and has_page:
        output = Path(COMPARISON_FILE) if several else folder / REPORT_FILE
    send = None
    if options.wandb_path is not None:
        from nn.report.publish import prepare_report

        send = prepare_report(folder, options.wandb_path)

    def contents() -> Iterator[tuple[Path, bytes]]:
        if options.png_dir:
            from nn.report.png import render_pngs  # slow: Matplotlib

            for name, content in render_pngs(options.folders):
                yield options.png_dir / f"{name}.png", content
        if options.tables:
            table = build_score_table(options.folders, options.num_trial_pages)
            for name, path in options.tables.items():
                yield path, FORMATTERS[name][1](table).encode("utf-8", "replace")
        if output:
            for path, page in _build_pages(options.folders, output, options.num_trial_pages or 0):
                yield path, page.to_html().encode("utf-8", "replace")

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


def _build_pages(
    folders: Sequence[Path], output: Path, num_trial_pages: int
) -> Iterator[tuple[Path, Page]]:
    """Build the page of a run, sweep, directory or comparison, and the trial pages."""
    _check_overwritable(output)
    folder = folders[0]
    if len(folders) > 1:
        comparison = ComparisonReader([RunReader(each) for each in folders])
        yield output, build_comparison_page(comparison, _page_url_from(output))
    elif is_sweep_dir(folder):
        yield from _build_sweep_pages(folder, output, num_trial_pages)
    elif is_run_dir(folder):
        yield output, build_run_page(RunReader(folder))
    elif is_wandb_run_dir(folder):
        yield output, build_wandb_run_page(WandbRunReader(folder))
    else:
        yield output, _build_index(folder, output)


def _build_index(folder: Path, output: Path) -> Page:
    index, page_url = IndexReader(folder), _page_url_from(output)
    if not index.entries:
        reason = f": {index.errors[0]}" if index.errors else "."
        raise UserError(f"{relpath(folder)}: no runs or sweeps found{reason}")
    return build_index_page(index, lambda path: page_url(path) or f"{relative_url(path, output)}/")


def _build_sweep_pages(
    folder: Path, output: Path, num_trial_pages: int
) -> Iterator[tuple[Path, Page]]:
    """Build the pages of a sweep's best trials and of the sweep itself."""
    sweep = SweepReader(folder)
    ranks = {trial["rank"]: folder / trial["directory"] for trial in sweep.trial_records()}
    best = [ranks[rank] for rank in range(1, num_trial_pages + 1) if rank in ranks]
    for trial_dir in best:
        _check_overwritable(trial_dir / REPORT_FILE)
    title = sweep.record()["title"]
    for trial_dir in best:
        page = trial_dir / REPORT_FILE
        yield page, build_run_page(RunReader(trial_dir), (title, relative_url(output, page)))
    yield output, build_sweep_page(sweep, _page_url_from(output, best))


def _page_url_from(output: Path, new_folders: Container[Path] = ()) -> PageUrl:
    """Return the function for links from a page to those that exist or are being written."""

    def page_url(folder: Path) -> str | None:
        page = folder / REPORT_FILE
        is_linked = folder in new_folders or page.exists()
        return relative_url(page, output) if is_linked else None

    return page_url


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
