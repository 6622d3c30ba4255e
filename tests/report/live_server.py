"""A running `report.py --live`, and requests and browsers to look at it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import REPORT_SCRIPT, WorkingDirectory

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

URL_LINE = re.compile(
    r"Live report of runs: http://127\.0\.0\.1:(\d+)/\?token=([\w-]{43}) \(Ctrl-C stops it\)\n"
)


@dataclass
class Reply:
    status: int
    headers: HTTPMessage
    text: str


class LiveServer:
    """A running `report.py --live` that serves the `runs` of a directory."""

    def __init__(self, workdir: WorkingDirectory, *options: str, **env: str) -> None:
        self.runs = workdir.path / "runs"
        self.process = workdir.start(REPORT_SCRIPT, "runs", "--live", *options, **env)
        assert self.process.stdout
        match = URL_LINE.fullmatch(self.process.stdout.readline())
        assert match, self.process.communicate()
        self.port, self.token = int(match[1]), match[2]
        self.cookie = f"nn-report-{self.port}={self.token}"

    def connect(self) -> closing[HTTPConnection]:
        return closing(HTTPConnection("127.0.0.1", self.port, timeout=60))

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Send a request, with the cookie unless `Cookie` is given."""
        with self.connect() as connection:
            return self.send(connection, path, method, **headers)

    def send(
        self, connection: HTTPConnection, path: str, method: str = "GET", **headers: str
    ) -> Reply:
        connection.request(method, path, headers={"Cookie": self.cookie, **headers})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read().decode())

    def poll(self, path: str, cursor: str = "") -> dict[str, Any]:
        """Return what has changed since a cursor, and {} if nothing has."""
        reply = self.get(f"/data/{path}{'&' if '?' in path else '?'}cursor={cursor}")
        assert reply.status in (200, 204), reply.text
        changes: dict[str, Any] = json.loads(reply.text or "{}")
        return changes

    def poll_until(
        self, path: str, is_reached: Callable[[dict[str, Any]], object], cursor: str = ""
    ) -> dict[str, Any]:
        """Poll as a browser does until the changes fulfil a condition, and return them."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            changes = self.poll(path, cursor)
            if changes and is_reached(changes):
                return changes
            time.sleep(0.2)
        raise AssertionError(path, changes.keys())

    def copy_run(self, name: str) -> Path:
        return shutil.copytree(self.runs / "one", self.runs / name)


@contextmanager
def start_server(workdir: WorkingDirectory, *options: str, **env: str) -> Iterator[LiveServer]:
    server = LiveServer(workdir, *options, **env)
    with server.process as process:
        try:
            yield server
        finally:
            process.kill()


class LiveBrowser:
    """A browser with access to a live server; it records errors and requests elsewhere."""

    def __init__(self, context: BrowserContext, server: LiveServer) -> None:
        self.context = context
        self.problems: list[str] = []
        self.origin = f"http://127.0.0.1:{server.port}"
        self.open(f"/?token={server.token}").close()

    def open(self, path: str) -> Page:
        """Open a page and wait until it is shown."""
        page = self.context.new_page()
        page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self.problems.append(dialog.message))
        page.on("request", self._check_request)
        page.goto(f"{self.origin}{path}")
        page.wait_for_selector("html[data-live*='-']", state="attached", timeout=60_000)
        return page

    def _check_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:")):
            self.problems.append(request.url)


@contextmanager
def live_browser(browser: Browser, server: LiveServer) -> Iterator[LiveBrowser]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    try:
        opened = LiveBrowser(context, server)
        yield opened
        assert opened.problems == [], opened.problems
    finally:
        context.close()
