"""A local download mirror that can be made to misbehave."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class MirrorServer(ThreadingHTTPServer):
    """Serve files from memory with one kind of behavior."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], behavior: str = "well") -> None:
        super().__init__(("127.0.0.1", 0), MirrorRequestHandler)
        self.files, self.behavior = files, behavior
        self.request_counts: Counter[str] = Counter()
        self.half_sent = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class MirrorRequestHandler(BaseHTTPRequestHandler):
    server: MirrorServer

    def do_GET(self) -> None:
        name, mirror = self.path.rsplit("/", 1)[-1], self.server
        mirror.request_counts[name] += 1
        if mirror.behavior == "redirect" and not self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", f"/moved/{name}")
            self.end_headers()
            return
        if mirror.behavior == "missing" or name not in mirror.files:
            self.send_error(404)
            return
        content = mirror.files[name]
        if mirror.behavior == "wrong byte":
            content = content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(content[:half])
            self.wfile.flush()
            mirror.half_sent.set()
            if mirror.behavior == "cut":
                return
            if mirror.behavior == "silent":
                time.sleep(30)
            if mirror.behavior == "slow":
                time.sleep(0.3)
            self.wfile.write(content[half:])

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve_mirror(files: dict[str, bytes], behavior: str = "well") -> Iterator[MirrorServer]:
    """Run a mirror within the block."""
    server = MirrorServer(files, behavior)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
