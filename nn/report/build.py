"""Build the reports that scripts/report.py is asked for, and write them all or none."""

from __future__ import annotations

import os
import re
import webbrowser
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from nn.errors import UserError
from nn.io.files import makedirs_with_rollback, staged_files
from nn.io.paths import relpath
from nn.report.data.comparison import ComparisonReader
from nn.report.data.index import IndexReader, PageReader, get_reader_class, open_reader
from nn.report.data.run import RunReader
from nn.report.data.sweep import SweepReader
from nn.report.export import FORMATTERS, build_score_table
from nn.report.page import GENERATOR, Page
from nn.report.pages.comparison import build_comparison_page
from nn.report.pages.index import build_index_page
from nn.report.pages.run import build_run_page
from nn.report.pages.sweep import build_sweep_page
from nn.report.pages.wandb_run import build_wandb_run_page
from nn.report.paths import REPORT_FILE, PageUrl, relative_url
from nn.tracking.settings import require_credentials

COMPARISON_FILE = "comparison.html"
WANDB_PATH_PATTERN = r"([\w .-]+)/([\w .-]+)(?:/([\w .-]+))?"
Link: TypeAlias = tuple[str, str | None]
"""Text and URL."""


@dataclass(frozen=True)
class ReportOptions:
    """Command-line options of scripts/report.py."""

    folders: Sequence[Path]
    output: Path | None = None  # the page's file; None for the default
    open_browser: bool = False
    num_trial_pages: int | None = None  # best points with pages of their trials, or table rows
    png_dir: Path | None = None  # figures in place of a page
    wandb_path: str | None = None  # ENTITY/PROJECT[/SWEEP_ID], a W&B report in place of a page
    tables: Mapping[str, Path] = field(default_factory=dict, kw_only=True)
    """Files by format, in place of a page."""


def build_page(reader: PageReader, page_url: PageUrl, back_link: Link | None = None) -> Page:
    """Build the page of a run, a sweep, a comparison or an index."""
    if isinstance(reader, RunReader):
        page = build_run_page(reader)
    elif isinstance(reader, SweepReader):
        page = build_sweep_page(reader, page_url)
    elif isinstance(reader, ComparisonReader):
        page = build_comparison_page(reader, page_url)
    elif isinstance(reader, IndexReader):
        page = build_index_page(reader, page_url)
    else:
        page = build_wandb_run_page(reader)
    return replace(page, context={**page.context, "back_link": back_link})


def build_report(options: ReportOptions) -> None:
    """Build the report that fits the directories; write only once all of it is built."""
    for folder in options.folders:
        if not folder.is_dir():
            raise UserError(f"{relpath(folder)}: no such directory.")
    folder, several = options.folders[0], len(options.folders) > 1
    if options.wandb_path is not None and several:
        raise UserError("--wandb: requires a single run or sweep directory.")
    has_page_per_trial = get_reader_class(folder) is SweepReader and not several
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
    if output:
        _check_overwritable(output)
    reader, send = open_reader(options.folders), None
    if options.wandb_path is not None:
        send = _prepare_wandb_report(reader, options.wandb_path)

    def contents() -> Iterator[tuple[Path, bytes]]:
        if options.png_dir:
            from nn.report.png import render_pngs  # slow: Matplotlib

            for name, content in render_pngs(reader):
                yield options.png_dir / f"{name}.png", content
        if options.tables:
            table = build_score_table(reader, options.num_trial_pages)
            if not table.rows:
                raise UserError(f"{relpath(folder)}: no runs with scores found.")
            for name, path in options.tables.items():
                yield path, FORMATTERS[name][1](table).encode("utf-8", "replace")
        if output:
            for path, page in _build_pages(reader, output, options.num_trial_pages or 0):
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


def _prepare_wandb_report(reader: PageReader, wandb_path: str) -> Callable[[], str]:
    """Check the options, and build the report that the returned function uploads."""
    if not isinstance(reader, RunReader | SweepReader):
        raise UserError("--wandb: requires a single run or sweep directory.")
    match = re.fullmatch(WANDB_PATH_PATTERN, wandb_path)
    if match is None:
        raise UserError(f"--wandb {wandb_path}: write ENTITY/PROJECT or ENTITY/PROJECT/SWEEP_ID.")
    require_credentials(f"--wandb={wandb_path}")
    os.environ.setdefault("WANDB_SILENT", "true")
    from nn.report.wandb_report import prepare_report  # slow, so after the checks

    return prepare_report(reader, *match.groups())


def _build_pages(
    reader: PageReader, output: Path, num_trial_pages: int
) -> Iterator[tuple[Path, Page]]:
    """Build the page of a run, sweep, directory or comparison, and those of a sweep's trials."""
    page_url = _page_url_from(output)
    if isinstance(reader, SweepReader):
        yield from _build_sweep_pages(reader, output, num_trial_pages)
    elif isinstance(reader, IndexReader):
        if not reader.entries:
            reason = f": {reader.errors[0]}" if reader.errors else "."
            raise UserError(f"{relpath(reader.directory)}: no runs or sweeps found{reason}")
        # a directory without a page is linked itself
        yield output, build_page(reader, lambda p: page_url(p) or f"{relative_url(p, output)}/")
    else:
        yield output, build_page(reader, page_url)


def _build_sweep_pages(
    sweep: SweepReader, output: Path, num_trial_pages: int
) -> Iterator[tuple[Path, Page]]:
    """Build the pages of the trials of a sweep's best points, and of the sweep itself."""
    ranks = {point["rank"]: point["trials"] for point in sweep.point_records()}
    numbers = [number for rank in range(num_trial_pages) for number in ranks.get(rank + 1, [])]
    trials = {t["number"]: sweep.path / t["directory"] for t in sweep.trial_records() if t["rank"]}
    best = [trials[number] for number in numbers if number in trials]
    for trial_dir in best:
        _check_overwritable(trial_dir / REPORT_FILE)
    title = sweep.record()["title"]
    for trial_dir in best:
        page = trial_dir / REPORT_FILE
        back_link = title, relative_url(output, page)
        yield page, build_page(RunReader(trial_dir), _page_url_from(page), back_link)
    yield output, build_page(sweep, _page_url_from(output, best))


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
