"""Pages in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-unsafe-swiftshader",
)  # fmt: skip
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


@contextmanager
def open_page(
    browser: Browser, html_file: Path, width: int = 1280, **settings: Any
) -> Iterator[Page]:
    """Open a page, wait until it is rendered, and check at the end for errors and requests."""
    errors, requested_urls = [], []
    page = browser.new_page(
        viewport={"width": width, "height": 900}, reduced_motion="reduce", **settings
    )
    page.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requested_urls.append(request.url))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    try:
        page.goto(html_file.as_uri())
        page.wait_for_selector("html[data-drawn=all]", state="attached", timeout=60_000)
        yield page
        assert errors == []
        own = ("data:", "blob:", html_file.as_uri())
        assert [url for url in requested_urls if not url.startswith(own)] == []
    finally:
        page.close()
