"""Shared fixtures: a clean environment and the real commands running in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest
from hypothesis import settings

pytest_plugins = ["tests.postgres"]
ROOT = Path(__file__).resolve().parents[1]
TRAIN_SCRIPT = str(ROOT / "scripts/train.py")
SWEEP_SCRIPT = str(ROOT / "scripts/sweep.py")
REPORT_SCRIPT = str(ROOT / "scripts/report.py")
PREDICT_SCRIPT = str(ROOT / "scripts/predict.py")
UPLOAD_SCRIPT = str(ROOT / "scripts/upload.py")
RESULTS_SCRIPT = str(ROOT / "scripts/results.py")
BENCHMARK_SCRIPT = str(ROOT / "scripts/benchmark.py")
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")  # a busy machine takes any time


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the soak tests too, for half an hour")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use one worker more than cores, since some tests only wait."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with a `repetition` argument a few times, and many times with --soak."""
    if "repetition" in metafunc.fixturenames:
        (mark,) = metafunc.definition.iter_markers("repeat")
        num_normal, num_soak = mark.args
        metafunc.parametrize(
            "repetition", range(num_soak if metafunc.config.option.soak else num_normal)
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip soak tests and excess `sampled` cases unless --soak is given."""
    if not config.option.soak:
        cases = Counter(item.nodeid.partition("[")[0] for item in items)
        seen: Counter[str] = Counter()
        for item in items[:]:
            function = item.nodeid.partition("[")[0]
            index, total = seen[function], cases[function]
            seen[function] += 1
            sampled = item.get_closest_marker("sampled")
            num_sampled = sampled.args[0] if sampled else total
            is_spread = index * num_sampled // total != (index - 1) * num_sampled // total
            if item.get_closest_marker("soak") or not is_spread:
                items.remove(item)


@pytest.fixture(autouse=True)
def clean_environment(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Provide no account, an empty home directory and default signal handlers."""
    for signum in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signum) == signal.SIG_IGN:  # inherited from nohup and `&`
            signal.signal(signum, signal.SIG_DFL)
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("NN_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    # commands find their modules compiled and write no bytecode into the project
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    temporary = tmp_path_factory.getbasetemp()
    shared = temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(shared / "compiled"))
    (tmp_path / "home").mkdir()


@dataclass
class RunDir:
    """A run directory, read back."""

    path: Path

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "history.jsonl").read_text().splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.path / "summary.json").read_text())
        return summary

    @property
    def environment(self) -> dict[str, Any]:
        environment: dict[str, Any] = json.loads((self.path / "environment.json").read_text())
        return environment

    @property
    def exact_results(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Everything that the same config and seed must reproduce exactly."""
        records = [without_timings(line) for line in self.history]
        return records, without_timings(self.summary)


def without_timings(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in record.items() if "second" not in key and key != "sessions"
    }


def repeat(num_normal: int, num_soak: int) -> pytest.MarkDecorator:
    """Set how often a test with a `repetition` argument runs: normally, and with --soak."""
    return pytest.mark.repeat(num_normal, num_soak)


class ProcessSettings(TypedDict):
    """Settings of `subprocess` for a command."""

    cwd: Path
    env: dict[str, str]
    stdin: int
    text: Literal[True]


class WorkingDirectory:
    """A directory in which commands run as a user runs them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def popen_args(self, *args: str | Path, **env: str) -> tuple[list[str | Path], ProcessSettings]:
        return [sys.executable, *args], {
            "cwd": self.path,
            "env": {**os.environ, **env},
            "stdin": subprocess.DEVNULL,
            "text": True,
        }

    def start(self, *args: str | Path, **env: str) -> subprocess.Popen[str]:
        argv, popen_kwargs = self.popen_args(*args, **env)
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen_kwargs
        )

    def run(self, *args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        argv, run_kwargs = self.popen_args(*args, **env)
        return subprocess.run(argv, capture_output=True, timeout=600, **run_kwargs)

    def train(
        self, *overrides: str, tracking: str = "disabled", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run scripts/train.py, with tracking disabled by default."""
        tracking_override = [f"tracking={tracking}"] if tracking else []
        return self.run(TRAIN_SCRIPT, *tracking_override, *overrides, **env)

    @property
    def runs(self) -> list[RunDir]:
        """Return all runs in the order in which they started."""
        files = self.path.rglob("config.yaml")
        return [RunDir(file.parent) for file in sorted(files, key=lambda f: f.stat().st_mtime_ns)]

    @property
    def only_run(self) -> RunDir:
        (run,) = [RunDir(file.parent) for file in self.path.rglob("config.yaml")]
        return run


@pytest.fixture
def workdir(tmp_path: Path) -> WorkingDirectory:
    return WorkingDirectory(tmp_path / "work")


@pytest.fixture
def start_logged(workdir: WorkingDirectory) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start commands that write to a log file; at the end, kill them and their workers."""
    started: list[subprocess.Popen[str]] = []

    def start(log_name: str, *args: str | Path, **env: str) -> subprocess.Popen[str]:
        argv, popen_kwargs = workdir.popen_args(*args, **env)
        with (workdir.path / log_name).open("a") as log:
            process = subprocess.Popen(
                argv, stdout=log, stderr=log, start_new_session=True, **popen_kwargs
            )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
