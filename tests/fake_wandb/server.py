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

from tests.fake_wandb.faults import Fault, error_body
from tests.fake_wandb.file_stream import receive_file_stream
from tests.fake_wandb.graphql_executor import ApiError, UnsupportedError
from tests.fake_wandb.graphql_parser import parse
from tests.fake_wandb.runs import Run
from tests.fake_wandb.schema import execute
from tests.fake_wandb.state import ServerState
from tests.fake_wandb.storage import fetch_file, store_file

WANDB_CLI = str(Path(__file__).with_name("wandb_cli.py"))
"""The `wandb` command line with an agent that polls more often: [QUICK_AGENT, "agent", ...]."""
API_KEY = "l" * 40
IGNORED_PATHS = ("/sdk/otel/",)
"""Paths of telemetry, which are answered with 404."""


class FakeWandbServer:
    """W&B on a free local port; its state survives a stop."""

    def __init__(self, entity: str = "somebody", seed: int = 0) -> None:
        self.state = ServerState(entity, seed)
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.unsupported_requests: list[str] = []
        self.port = 0
        self._http: _HttpServer | None = None

    def __enter__(self) -> FakeWandbServer:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is None:
            self.assert_all_supported()

    def start(self) -> None:
        """Listen on the same port as before."""
        self._http = _HttpServer(("127.0.0.1", self.port), self)
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

    def assert_all_supported(self) -> None:
        """Fail if the client sent a request that this server does not support."""
        assert not self.unsupported_requests, (
            f"the fake server does not know: {'; '.join(self.unsupported_requests)}"
        )

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which a command uses this server, with short waits.

        The client parses these durations as integers; 0 stands for its long default.
        """
        retry_waits = {
            f"WANDB_X_{part}_RETRY_WAIT_{end}_SECONDS": "1"
            for part in ("FILE_STREAM", "FILE_TRANSFER", "GRAPHQL")
            for end in ("MIN", "MAX")
        }
        return {
            **retry_waits,
            "WANDB_BASE_URL": self.state.url,
            "WANDB_API_KEY": API_KEY,
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

    def inject_fault(self, status: int | None = None, **settings: Any) -> Fault:
        """Inject a fault from now on; see `Fault`."""
        fault = Fault(status=status, **settings)
        self.faults.append(fault)
        return fault

    def stop_run(self, run_id: str, by: tuple[str, ...] = ("agent", "stream")) -> None:
        """Request a run to stop through its agent's next heartbeat, its own stream, or both."""
        run = self.state.runs[run_id]
        run.should_stop_by_agent |= "agent" in by
        run.should_stop_by_stream |= "stream" in by

    def crash_run(self, run_id: str) -> None:
        """Mark a run as crashed, as W&B does after five minutes without a heartbeat."""
        self.state.mark_crashed(run_id)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], fake_wandb: FakeWandbServer) -> None:
        self.fake_wandb, self.stop_event = fake_wandb, threading.Event()
        self.connections: set[socket.socket] = set()
        super().__init__(address, _RequestHandler)

    def stop(self) -> None:
        self.stop_event.set()
        self.shutdown()
        for connection in list(self.connections):
            _shut_down_connection(connection)
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
            self.fake_wandb.unsupported_requests.append(f"an error of its own: {error!r}")


class _RequestHandler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        self._handle_request()

    def do_PUT(self) -> None:
        self._handle_request()

    def do_GET(self) -> None:
        self._handle_request()

    def _handle_request(self) -> None:
        fake_wandb, path = self.server.fake_wandb, unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if path.startswith(IGNORED_PATHS):
            self._send_response(404, b"")
            return
        payload = json.loads(body) if path == "/graphql" else {}
        document = parse(payload["query"]) if payload else None
        label = document.operation_name if document else f"{self.command} {path}"
        fake_wandb.requests.append(label)
        with fake_wandb.state.lock:
            faults = [fault for fault in fake_wandb.faults if fault.try_trigger(label)]
        if self.server.stop_event.wait(sum(fault.delay_seconds for fault in faults)):
            raise ConnectionResetError
        fault = next((fault for fault in faults if fault.drop or fault.status), None)
        reply: tuple[int, bytes] | None = None
        if fault is None or fault.after_execution:
            reply = self._execute(label, path, body, payload, document)
        if fault is None:
            assert reply is not None
            self._send_response(*reply)
        elif fault.drop:
            self.close_connection = True
            _shut_down_connection(self.connection)
        else:
            assert fault.status is not None
            self._send_response(fault.status, fault.body, fault.headers)

    def _execute(
        self, label: str, path: str, body: bytes, payload: Any, document: Any
    ) -> tuple[int, bytes]:
        fake_wandb = self.server.fake_wandb
        state = fake_wandb.state
        try:
            if document:
                self._check_api_key()
                data = execute(state, document, payload.get("variables") or {})
                return 200, json.dumps({"data": data}).encode()
            if path.endswith("/file_stream") and self.command == "POST":
                with state.lock:
                    data = receive_file_stream(state, path.split("/")[-2], json.loads(body))
                return 200, json.dumps(data).encode()
            with state.lock:
                if self.command == "PUT":
                    store_file(state, path, body)
                    return 200, b""
                if self.command == "GET":
                    return 200, fetch_file(state, path)
            raise UnsupportedError(label)
        except ApiError as api_error:
            return api_error.status, error_body(str(api_error))
        except UnsupportedError as unsupported:
            fake_wandb.unsupported_requests.append(str(unsupported))
            return 400, error_body(f"the fake server does not know {unsupported}")
        except Exception as error:
            fake_wandb.unsupported_requests.append(f"{label}: {error!r}")
            return 400, error_body(repr(error))

    def _check_api_key(self) -> None:
        authorization = self.headers.get("Authorization", "")
        if base64.b64encode(f"api:{API_KEY}".encode()).decode() not in authorization:
            raise ApiError(401, "user is not logged in")

    def _send_response(
        self, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _shut_down_connection(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
