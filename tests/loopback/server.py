"""The HTTP server, and its controls for tests."""

from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.loopback.answers import Refused, Unknown
from tests.loopback.faults import Fault, errors
from tests.loopback.language import parse
from tests.loopback.runs import Run
from tests.loopback.schema import answer
from tests.loopback.state import State
from tests.loopback.storage import fetch, store
from tests.loopback.stream import receive

QUICK_AGENT = str(Path(__file__).with_name("quick_agent.py"))
"""The `wandb` command line with an agent that polls more often: [QUICK_AGENT, "agent", ...]."""
KEY = "l" * 40
SILENT = ("/sdk/otel/",)
"""Paths of telemetry, which are answered with 404."""


class Loopback:
    """W&B on a free local port; its state survives a stop."""

    def __init__(self, entity: str = "somebody", seed: int = 0) -> None:
        self.state = State(entity, seed)
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.port = 0
        self._http: _Server | None = None

    def __enter__(self) -> Loopback:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is None:
            self.check()

    def start(self) -> None:
        """Listen on the same port as before."""
        self._http = _Server(("127.0.0.1", self.port), self)
        self.port = self._http.server_address[1]
        self.state.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """Break all connections, as a killed server does; keep the state."""
        if self._http:
            self._http.stop()
            self._thread.join()
            self._http = None

    def check(self) -> None:
        """Fail if the client sent a request that this server does not support."""
        assert not self.unknown, f"the loopback server does not know: {'; '.join(self.unknown)}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which a command uses this server, with short waits.

        The client parses these durations as integers; 0 stands for its long default.
        """
        waits = {
            f"WANDB_X_{part}_RETRY_WAIT_{end}_SECONDS": "1"
            for part in ("FILE_STREAM", "FILE_TRANSFER", "GRAPHQL")
            for end in ("MIN", "MAX")
        }
        return {
            **waits,
            "WANDB_BASE_URL": self.state.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }

    @property
    def runs(self) -> dict[str, Run]:
        return self.state.runs

    @property
    def sweeps(self) -> dict[str, Any]:
        return self.state.sweeps

    @property
    def artifacts(self) -> dict[str, Any]:
        return self.state.artifacts

    def failing(self, status: int | None = None, **settings: Any) -> Fault:
        """Inject a fault from now on; see `Fault`."""
        fault = Fault(status=status, **settings)
        self.faults.append(fault)
        return fault

    def stop_run(self, run_id: str, by: tuple[str, ...] = ("agent", "stream")) -> None:
        """Request a run to stop through its agent's next heartbeat, its own stream, or both."""
        run = self.state.runs[run_id]
        run.stop_by_agent |= "agent" in by
        run.stop_by_stream |= "stream" in by

    def crash_run(self, run_id: str) -> None:
        """Mark a run as crashed, as W&B does after five minutes without a heartbeat."""
        self.state.crash(run_id)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], loopback: Loopback) -> None:
        self.loopback, self.stopping = loopback, threading.Event()
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        for connection in list(self.connections):
            _break(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.loopback.unknown.append(f"an error of its own: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        loopback, path = self.server.loopback, unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if path.startswith(SILENT):
            self._reply(404, b"")
            return
        sent = json.loads(body) if path == "/graphql" else {}
        document = parse(sent["query"]) if sent else None
        label = document.name if document else f"{self.command} {path}"
        loopback.requests.append(label)
        with loopback.state.lock:
            struck = [fault for fault in loopback.faults if fault.strikes(label)]
        if self.server.stopping.wait(sum(fault.delay for fault in struck)):
            raise ConnectionResetError
        spoiled = next((fault for fault in struck if fault.drop or fault.status), None)
        reply: tuple[int, bytes] | None = None
        if spoiled is None or spoiled.carried_out:
            reply = self._carry_out(label, path, body, sent, document)
        if spoiled is None:
            assert reply is not None
            self._reply(*reply)
        elif spoiled.drop:
            self.close_connection = True
            _break(self.connection)
        else:
            assert spoiled.status is not None
            self._reply(spoiled.status, spoiled.body, spoiled.headers)

    def _carry_out(
        self, label: str, path: str, body: bytes, sent: Any, document: Any
    ) -> tuple[int, bytes]:
        loopback = self.server.loopback
        state = loopback.state
        try:
            if document:
                self._require_key()
                found = answer(state, document, sent.get("variables") or {})
                return 200, json.dumps({"data": found}).encode()
            if path.endswith("/file_stream") and self.command == "POST":
                with state.lock:
                    found = receive(state, path.split("/")[-2], json.loads(body))
                return 200, json.dumps(found).encode()
            with state.lock:
                if self.command == "PUT":
                    store(state, path, body)
                    return 200, b""
                if self.command == "GET":
                    return 200, fetch(state, path)
            raise Unknown(label)
        except Refused as refusal:
            return refusal.status, errors(str(refusal))
        except Unknown as unknown:
            loopback.unknown.append(str(unknown))
            return 400, errors(f"the loopback server does not know {unknown}")
        except Exception as error:
            loopback.unknown.append(f"{label}: {error!r}")
            return 400, errors(repr(error))

    def _require_key(self) -> None:
        given = self.headers.get("Authorization", "")
        if base64.b64encode(f"api:{KEY}".encode()).decode() not in given:
            raise Refused(401, "user is not logged in")

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _break(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
