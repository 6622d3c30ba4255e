"""A temporary local PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

URL = "NN_SWEEPS_POSTGRES"
"""An environment variable with the URL of a server to use in place of a temporary one."""


class Postgres:
    """A PostgreSQL server that can be stopped, frozen and restarted."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.frozen: list[int] = []
        self.home = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.user = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(self.home, "nobody")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://tester@127.0.0.1:{self.port}/postgres"
        data = ["-D", str(self.home / "data")]
        self.call("initdb", *data, "-U", "tester", "-A", "trust", "--no-sync")

    def call(self, program, *words):
        done = subprocess.run(
            [str(self.programs / program), *words],
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self.user,
        )
        assert done.returncode == 0, done.stdout

    def start(self):
        options = f"-h 127.0.0.1 -p {self.port} -k {self.home} -c fsync=off"
        words = ["-D", str(self.home / "data"), "-l", str(self.home / "log.txt"), "-w"]
        self.call("pg_ctl", *words, "-o", options, "start")

    def stop(self):
        """Break all connections, as a crash does."""
        self.call("pg_ctl", "-D", str(self.home / "data"), "-m", "immediate", "-w", "stop")

    def freeze(self):
        """Keep all connections open, but answer nothing."""
        (pid, *_) = (self.home / "data/postmaster.pid").read_text().split()
        self.frozen = [int(pid)]
        os.kill(int(pid), signal.SIGSTOP)  # first, so that it starts no more children
        self.frozen += children(int(pid))
        for each in self.frozen[1:]:
            os.kill(each, signal.SIGSTOP)

    def thaw(self):
        for each in self.frozen:
            os.kill(each, signal.SIGCONT)
        self.frozen = []

    def remove(self):
        self.thaw()
        if (self.home / "data/postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.home)


def children(pid):
    """Return the ids of the child processes of a process."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def programs():
    """Find the program directory of the newest PostgreSQL installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    there = shutil.which("initdb") or (found[-1] if found else None)
    return there and Path(there).parent


@pytest.fixture
def postgres():
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not installed on this machine")
    server = Postgres(where)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def database(request):
    """The URL of a database on an existing server, or on one started for the test."""
    return os.environ.get(URL) or request.getfixturevalue("postgres").url
