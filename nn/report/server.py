"""The live report: a server on this machine for the pages of a directory's runs and sweeps.

A page is rendered when it is asked for, and then piece by piece as its files change; live.js asks
every few seconds. Only a browser on this machine, or at the other end of an `ssh -L` tunnel, that
was given the token gets an answer.
"""

from __future__ import annotations

import json
import mimetypes
import os
import re
import secrets
import socket
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import pandas as pd
import PIL.Image
import uvicorn
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nn.errors import UserError
from nn.io.paths import relpath
from nn.report.data.comparison import SAME_RUN_MESSAGE
from nn.report.data.index import get_reader_class
from nn.report.data.run import RunReader
from nn.report.data.sweep import SweepReader
from nn.report.live_page import BUG_MESSAGE, LivePage, build_message_page, describe_error
from nn.report.page import LIVE_SCRIPTS, SCRIPTS, STATIC, read_asset, render_document
from nn.report.server_steering import steer_sweep
from nn.runs.signals import hangs_at_exit

OPTIONAL_MODULES = pd, PIL.Image
"""Plotly looks these up in `sys.modules`, where another thread may still be importing them."""
HOST = "127.0.0.1"
LOCAL_HOST_PATTERN = r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?"
"""Names of this machine, on any port: with `ssh -L`, the browser's port is another one."""
MAX_WAIT_SECONDS = 0.3
"""How long a reply waits for rendering, as a browser has few connections for all of its tabs."""
KEEP_SECONDS = 60.0
"""Time after the last poll at which a page is dropped from memory; hidden tabs poll every 10 s."""
MAX_COMPARED_RUNS = 20
SECURITY_HEADERS = {
    # Plotly sets styles of elements
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


SWEEP_PAGE_POLICY = SECURITY_HEADERS["Content-Security-Policy"].replace(
    "script-src", "script-src 'unsafe-eval'"
)
"""Plotly's parallel coordinates compile code."""


def serve(folder: Path, port: int, open_browser: bool) -> None:
    """Serve the live report of a directory on 127.0.0.1 until Ctrl-C.

    Args:
        port: Port of the server; 0 for any free one.
    """
    if not folder.is_dir():
        raise UserError(f"{relpath(folder)}: no such directory.")
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # strerror repeats the address
        raise UserError(
            f"--port={port}: {reason}; choose another port, or 0 for any free one."
        ) from None
    token = secrets.token_urlsafe()
    config = uvicorn.Config(
        AccessControl(create_app(folder.absolute()), token),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    url = f"http://{HOST}:{listener.getsockname()[1]}/?token={token}"
    print(f"Live report of {relpath(folder)}: {url} (Ctrl-C stops it)", flush=True)
    hangs_at_exit.set()  # open connections and pages that are being built are not waited for
    try:
        with _redirect_file(url) if open_browser else nullcontext() as file:
            if file:
                webbrowser.open(file.as_uri())
            thread.join()
    finally:
        server.should_exit = True  # in an interactive session, which does not exit


@contextmanager
def _redirect_file(url: str) -> Iterator[Path]:
    """Write a page that leads to the URL: the arguments of a browser are visible to all users."""
    with tempfile.TemporaryDirectory(prefix="nn-report-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "open.html"
        file.write_text(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(url)}">'
        )
        yield file


class AccessControl:
    """ASGI middleware that refuses requests from elsewhere or without the token.

    The token is given once, in the URL, and then in a cookie. That is named for the port, since a
    browser sends the cookies of a host to all of its ports. All responses get `SECURITY_HEADERS`.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it to the application."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._redirect_or_refuse(Request(scope)) or self.app
        await app(scope, receive, send_with_headers)

    def _redirect_or_refuse(self, request: Request) -> Response | None:
        """Return the response to a request without access; None if it has access."""
        is_local = _matches(LOCAL_HOST_PATTERN, request.headers.get("host", ""))
        origins = request.headers.getlist("origin")
        if not (is_local and all(_matches(f"https?://{LOCAL_HOST_PATTERN}", o) for o in origins)):
            return PlainTextResponse("Only requests to and from localhost are answered.", 403)
        cookie_name = f"nn-report-{request.url.port or 80}"
        if self._is_token(request.query_params.get("token", "")):
            response = RedirectResponse(request.url.remove_query_params("token"), 303)
            # not strict, which would exclude a tab that was opened by the page of --open
            response.set_cookie(cookie_name, self.token, httponly=True, samesite="lax")
            return response
        if not self._is_token(request.cookies.get(cookie_name, "")):
            return PlainTextResponse(
                "The token is missing or wrong; open the URL that the command printed.", 403
            )
        return None

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), self.token.encode())


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.IGNORECASE) is not None


def create_app(root: Path) -> Starlette:
    """Create the application that serves the pages and data of the directories below `root`."""
    live_pages: dict[tuple[type | None, tuple[Path, ...]], LivePage] = {}
    static_url = f"/static/{secrets.token_hex(4)}/"  # a new one lets browsers keep files

    def find_live_page(request: Request) -> tuple[type | None, LivePage]:
        """Return the page for a URL, and drop pages that have not been polled lately."""
        now = time.monotonic()
        for key, live_page in list(live_pages.items()):
            if now - live_page.polled_at > KEEP_SECONDS:
                del live_pages[key]
        compared = request.query_params.getlist("run")
        paths = compared or [request.path_params.get("path", "")]
        folders = [_resolve(root, path) for path in paths]
        reader_class = get_reader_class(folders[0])
        if len(compared) > MAX_COMPARED_RUNS:
            raise HTTPException(400, f"At most {MAX_COMPARED_RUNS} runs can be compared.")
        if compared and not all(get_reader_class(folder) is RunReader for folder in folders):
            raise HTTPException(400, "Only runs can be compared; choose runs.")
        if len(set(folders)) < len(folders):
            raise HTTPException(400, SAME_RUN_MESSAGE)
        key = reader_class, tuple(folders)
        if key not in live_pages:
            live_pages[key] = LivePage(root, folders, partial(_page_url, root))
        return reader_class, live_pages[key]

    async def get_page(request: Request) -> Response:
        reader_class, live_page = find_live_page(request)
        await live_page.refresh(MAX_WAIT_SECONDS)
        pieces = live_page.rendering.pieces
        if pieces:
            title, content = (json.loads(pieces[key,][0]) for key in ("title", "content"))
        else:
            page = build_message_page(live_page.title, "Reading the directory …")
            title, content = page.title, page.render_content()
        steer_script = ("steer.js",) if reader_class is SweepReader else ()
        response = respond(
            title, content, 500 if live_page.has_failed else 200, more_scripts=steer_script
        )
        if reader_class is SweepReader:
            response.headers["Content-Security-Policy"] = SWEEP_PAGE_POLICY
        return response

    async def get_changes(request: Request) -> Response:
        _, live_page = find_live_page(request)
        await live_page.refresh(MAX_WAIT_SECONDS)
        changes = live_page.rendering.changes_since(request.query_params.get("cursor", ""))
        if changes is None:
            return Response(status_code=204)
        return Response(changes, media_type="application/json")

    async def steer(request: Request) -> Response:
        folder = _resolve(root, request.path_params["path"])
        if get_reader_class(folder) is not SweepReader:
            raise HTTPException(404, f"{folder.name}: no such sweep.")
        return await steer_sweep(request, folder)

    def get_error(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            status, message, headers = error.status_code, error.detail, error.headers
        else:
            status, message, headers = 500, describe_error(error, root) or BUG_MESSAGE, None
        if request.scope["path"].startswith("/data/"):
            # a browser would report another status in its console, as often as it polls
            return JSONResponse({"problem": message}, 200 if status in (400, 404) else status)
        page = build_message_page(root.name, message, (root.name, "/"))
        return respond(page.title, page.render_content(), status, headers)

    def respond(
        title: str,
        content: str,
        status: int,
        headers: Mapping[str, str] | None = None,
        *,
        more_scripts: tuple[str, ...] = (),
    ) -> Response:
        """Send a page without charts and rows, which live.js asks for."""
        html = render_document(
            title,
            content=Markup(content),
            payload='{"charts":{},"tables":{}}',
            scripts=("plotly.js", *SCRIPTS, *LIVE_SCRIPTS, *more_scripts),
            asset_url=static_url,
        )
        return HTMLResponse(html.encode("utf-8", "replace"), status, headers)

    return Starlette(
        routes=[
            Route("/", get_page),
            Route("/compare", get_page),
            Route("/page/{path:path}", get_page),
            Route("/data/{path:path}", get_changes),
            Route("/steer/{path:path}", steer, methods=["POST"]),
            Route(f"{static_url}{{name}}", _get_asset),
        ],
        exception_handlers=dict.fromkeys((HTTPException, OSError, Exception), get_error),
    )


async def _get_asset(request: Request) -> Response:
    name: str = request.path_params["name"]
    if name not in ("plotly.js", *(file.name for file in STATIC.iterdir())):
        raise HTTPException(404)
    media_type = mimetypes.guess_type(name)[0] or "text/plain"
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return Response(read_asset(name), headers=headers, media_type=media_type)


def _resolve(root: Path, url_path: str) -> Path:
    """Return the directory below `root` that a URL names, without following symbolic links."""
    path = root
    with suppress(OSError):  # the name is too long
        for part in PurePosixPath(url_path).parts:
            path /= part
            if part == ".." or part.startswith("/") or path.is_symlink():
                break
        else:
            if path.is_dir():
                return path
    raise HTTPException(404, f"{url_path or root.name}: no such run, sweep or directory.")


def _page_url(root: Path, folder: Path) -> str | None:
    """Return the URL of a page; None for a directory that has none."""
    if folder == root:
        return "/"
    if get_reader_class(folder) is None or not folder.is_relative_to(root):
        return None
    return f"/page/{quote(os.fsencode(folder.relative_to(root)))}"
