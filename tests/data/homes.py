"""A local download mirror that can be made to misbehave."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Home(ThreadingHTTPServer):
    """Serve files from memory with one kind of behavior."""

    daemon_threads = True

    def __init__(self, files, manner="well"):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.manner = files, manner
        self.asked = Counter()
        self.half_sent = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        name, home = self.path.rsplit("/", 1)[-1], self.server
        home.asked[name] += 1
        if home.manner == "redirect" and not self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", f"/moved/{name}")
            self.end_headers()
            return
        if home.manner == "missing" or name not in home.files:
            self.send_error(404)
            return
        content = home.files[name]
        if home.manner == "wrong byte":
            content = content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(content[:half])
            self.wfile.flush()
            home.half_sent.set()
            if home.manner == "cut":
                return
            if home.manner == "silent":
                time.sleep(30)
            if home.manner == "slow":
                time.sleep(0.3)
            self.wfile.write(content[half:])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def home(files, manner="well"):
    """Run a mirror within the block."""
    server = Home(files, manner)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
