"""Live pages: rendered again, piece by piece, when their data change and a browser polls them."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from nn.errors import UserError
from nn.report.build import Link, build_page
from nn.report.data.index import PageReader, get_reader_class, open_reader
from nn.report.data.sweep import SweepReader
from nn.report.page import Page, PieceKey
from nn.report.paths import PageUrl, shorten_paths, strip_folder

MIN_INTERVAL_SECONDS = 0.8
"""Pause between two looks at the files of a page, less than that between two polls."""
POLL_SECONDS, IDLE_POLL_SECONDS = 1, 3
"""How often a browser polls while something is running, and otherwise."""
MAX_READ_SECONDS = 1.0
"""How long a large directory is read until its index shows what is known so far."""
PAUSE_FACTOR = 5.0
"""The same as a multiple of the time that the last rendering took: training needs the cores."""

BUG_MESSAGE = "This page cannot be built; the terminal of the server shows the error."

_threads = ThreadPoolExecutor(32, "live-page")


@dataclass(frozen=True)
class Rendering:
    """A rendered page: each piece as JSON, with the version in which it last changed."""

    generation: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells the versions of this page from those of one that was rendered by another process."""
    version: int = 0
    pieces: Mapping[PieceKey, tuple[str, int]] = field(default_factory=dict)

    def with_pieces(self, texts: Mapping[PieceKey, str]) -> Rendering:
        """Return the next version."""
        version = self.version + 1
        pieces = {}
        for key, text in texts.items():
            piece = self.pieces.get(key)
            pieces[key] = piece if piece and piece[0] == text else (text, version)
        return Rendering(self.generation, version, pieces)

    def changes_since(self, cursor: str) -> str | None:
        """Return the cursor of this version and what has changed since another one, as JSON.

        Args:
            cursor: Of an earlier reply; anything else returns the whole page.
        """
        generation, _, text = cursor.partition("-")
        is_known = generation == self.generation and text.isdecimal() and len(text) < 20
        since = int(text) if is_known else 0
        changed = {key: text for key, (text, version) in self.pieces.items() if version > since}
        if not changed:
            return None
        changed["cursor",] = json.dumps(f"{self.generation}-{self.version}")
        return shorten_paths(_nest(changed))


def _nest(texts: Mapping[PieceKey, str]) -> str:
    """Join pieces to one JSON object, which is nested as their keys are."""
    parts: dict[str, dict[PieceKey, str]] = {}
    for (name, *rest), text in texts.items():
        parts.setdefault(name, {})[tuple(rest)] = text
    items = [f"{json.dumps(name)}:{part.get(()) or _nest(part)}" for name, part in parts.items()]
    return f"{{{','.join(items)}}}"


class LivePage:
    """The page of a directory below `root`, or of several runs, that all of its viewers share.

    Attributes:
        rendering: The latest; without pieces while the page is rendered for the first time.
        has_failed: Whether the page could not be built so far.
        polled_at: When a browser last asked for it, by the monotonic clock.
    """

    def __init__(self, root: Path, folders: Sequence[Path], page_url: PageUrl) -> None:
        self.rendering = Rendering()
        self.has_failed = False
        self.polled_at = time.monotonic()
        self.title = folders[0].name
        self._root, self._folders, self._page_url = root, folders, page_url
        self._back_link = self._find_back_link()
        self._reader: PageReader | None = None
        self._problem: str | None = None
        self._update: asyncio.Future[None] | None = None
        self._next_update = 0.0

    async def refresh(self, timeout_seconds: float) -> None:
        """Render what is new if it is time to, and wait for that, but not for longer."""
        self.polled_at = time.monotonic()
        if not self._update or (self._update.done() and self.polled_at >= self._next_update):
            loop = asyncio.get_running_loop()
            self._update = loop.run_in_executor(_threads, self._read_and_render)
        await asyncio.wait([self._update], timeout=timeout_seconds)

    def _find_back_link(self) -> Link | None:
        """Link a trial to its sweep, and any other page to that of the root."""
        folder, is_comparison = self._folders[0], len(self._folders) > 1
        if folder == self._root:
            return None
        for parent in (self._root,) if is_comparison else folder.parents:
            if parent == self._root or get_reader_class(parent) is SweepReader:
                return parent.name, self._page_url(parent)
        return None

    def _read_and_render(self) -> None:
        start = time.thread_time()
        try:
            has_changed = self._reader is None or self._reader.update()
            self._reader = self._reader or open_reader(self._folders, MAX_READ_SECONDS)
            if has_changed:
                page = build_page(self._reader, self._page_url, self._back_link)
                self._show(page.render_pieces(), None)
                self.has_failed = False
        except Exception as error:  # no content of the files may stop the server or other pages
            self._reader = None
            self._show_error(error)
        pause = PAUSE_FACTOR * (time.thread_time() - start)
        self._next_update = time.monotonic() + max(MIN_INTERVAL_SECONDS, pause)

    def _show(self, pieces: Mapping[PieceKey, str], problem: str | None) -> None:
        self._problem = problem
        is_running = self._reader is not None and self._reader.is_running
        interval = POLL_SECONDS if is_running else IDLE_POLL_SECONDS
        own_pieces: dict[PieceKey, str] = {
            ("problem",): json.dumps(problem),
            ("interval",): json.dumps(interval),
        }
        self.rendering = self.rendering.with_pieces({**pieces, **own_pieces})

    def _show_error(self, error: Exception) -> None:
        """Show an error along with what was shown before, or else in place of the page."""
        message = describe_error(error, self._root)
        if message is None:
            message = BUG_MESSAGE
            if message != self._problem:
                traceback.print_exception(error)
        self.has_failed |= not self.rendering.pieces
        if self.has_failed:
            self._show(build_message_page(self.title, message).render_pieces(), message)
        else:
            pieces = {key: text for key, (text, _) in self.rendering.pieces.items()}
            self._show(pieces, message)


def build_message_page(title: str, message: str, back_link: Link | None = None) -> Page:
    """Build a page that says why there is nothing else to see."""
    context = {"message": message, "back_link": back_link}
    return Page(template="message.html", title=title, context=context)


def describe_error(error: Exception, root: Path) -> str | None:
    """Describe in one sentence why a page cannot be shown; None if this is a bug."""
    if isinstance(error, UserError):
        return strip_folder(str(error), root)
    if isinstance(error, OSError):
        return f"A file cannot be read: {error.strerror}."
    if isinstance(error, RecursionError):
        return "A file is damaged: it is nested too deeply."
    return None
