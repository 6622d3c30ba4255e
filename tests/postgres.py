"""A temporary local PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

URL_VARIABLE = "NN_TEST_POSTGRES_URL"
"""An environment variable with the URL of a server to use in place of a temporary one."""


class PostgresServer:
    """A PostgreSQL server that can be stopped, frozen and restarted."""

    def __init__(self, bin_dir: Path) -> None:
        self.bin_dir = bin_dir
        self.frozen_pids: list[int] = []
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.user = "nobody" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(self.directory, self.user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://tester@127.0.0.1:{self.port}/postgres"
        data = ["-D", str(self.directory / "data")]
        self.run_program("initdb", *data, "-U", "tester", "-A", "trust", "--no-sync")

    def run_program(self, program: str, *args: str) -> None:
        result = subprocess.run(
            [str(self.bin_dir / program), *args],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self.user,
        )
        assert result.returncode == 0, result.stdout

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.directory} -c fsync=off"
        args = ["-D", str(self.directory / "data"), "-l", str(self.directory / "log.txt"), "-w"]
        self.run_program("pg_ctl", *args, "-o", options, "start")

    def stop(self) -> None:
        """Break all connections, as a crash does."""
        self.run_program(
            "pg_ctl", "-D", str(self.directory / "data"), "-m", "immediate", "-w", "stop"
        )

    def freeze(self) -> None:
        """Keep all connections open, but answer nothing."""
        (pid, *_) = (self.directory / "data/postmaster.pid").read_text().split()
        self.frozen_pids = [int(pid)]
        os.kill(int(pid), signal.SIGSTOP)  # first, so that it starts no more children
        self.frozen_pids += child_pids(int(pid))
        for child in self.frozen_pids[1:]:
            os.kill(child, signal.SIGSTOP)

    def thaw(self) -> None:
        for frozen_pid in self.frozen_pids:
            os.kill(frozen_pid, signal.SIGCONT)
        self.frozen_pids = []

    def remove(self) -> None:
        self.thaw()
        if (self.directory / "data/postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.directory)


def child_pids(pid: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def find_bin_dir() -> Path | None:
    """Find the program directory of the newest PostgreSQL installed."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (candidates[-1] if candidates else None)
    return Path(initdb).parent if initdb else None


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    bin_dir = find_bin_dir()
    if bin_dir is None:
        pytest.skip("PostgreSQL is not installed on this machine")
    server = PostgresServer(bin_dir)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database on an existing server, or on one started for the test."""
    url: str = os.environ.get(URL_VARIABLE) or request.getfixturevalue("postgres").url
    return url
