"""Shared fixtures: a clean environment and the real commands running in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest_plugins = ["tests.postgres"]
ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="the long proofs, for half an hour")


def pytest_xdist_auto_num_workers(config):
    """Use one worker more than cores, since some tests only wait."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_generate_tests(metafunc):
    """Run a test with a `draw` argument a few times, and many times with --soak."""
    if "draw" in metafunc.fixturenames:
        few, many = metafunc.function.draws
        metafunc.parametrize("draw", range(many if metafunc.config.option.soak else few))


def pytest_collection_modifyitems(config, items):
    """Skip soak tests and excess `sampled` cases unless --soak is given."""
    if not config.option.soak:
        cases = Counter(item.nodeid.partition("[")[0] for item in items)
        seen = Counter()
        for item in items[:]:
            function = item.nodeid.partition("[")[0]
            place, total = seen[function], cases[function]
            seen[function] += 1
            sampled = item.get_closest_marker("sampled")
            few = sampled.args[0] if sampled else total
            is_spread = place * few // total != (place - 1) * few // total
            if item.get_closest_marker("soak") or not is_spread:
                items.remove(item)


@pytest.fixture(autouse=True)
def clean_environment(tmp_path, tmp_path_factory, monkeypatch):
    """Provide no account, an empty home directory and default signal handlers."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:  # inherited from nohup and `&`
            signal.signal(number, signal.SIG_DFL)
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("NN_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    # commands find their modules compiled and write no bytecode into the project
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.getbasetemp() / "compiled"))
    (tmp_path / "home").mkdir()


@dataclass
class Run:
    """A run directory, read back."""

    path: Path

    @property
    def history(self):
        return [json.loads(line) for line in (self.path / "history.jsonl").read_text().splitlines()]

    @property
    def summary(self):
        return json.loads((self.path / "summary.json").read_text())

    @property
    def environment(self):
        return json.loads((self.path / "environment.json").read_text())

    @property
    def bits(self):
        """Everything that the same config and seed must reproduce exactly."""
        lines = [without_timings(line) for line in self.history]
        return lines, without_timings(self.summary)


def without_timings(record):
    return {
        key: value for key, value in record.items() if "second" not in key and key != "sessions"
    }


def draws(few, many):
    """Set how often a test with a `draw` argument runs: normally, and with --soak."""

    def mark(test):
        test.draws = few, many
        return test

    return mark


class Workplace:
    """A directory in which commands run as a user runs them."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir()

    def command(self, *words, **environment):
        return [sys.executable, *words], {
            "cwd": self.path,
            "env": {**os.environ, **environment},
            "stdin": subprocess.DEVNULL,
            "text": True,
        }

    def start(self, *words, **environment):
        line, settings = self.command(*words, **environment)
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings)

    def run(self, *words, **environment):
        line, settings = self.command(*words, **environment)
        return subprocess.run(line, capture_output=True, timeout=600, **settings)

    def train(self, *overrides, tracking="disabled", **environment):
        """Run scripts/train.py, with tracking disabled by default."""
        chosen = [f"tracking={tracking}"] if tracking else []
        return self.run(str(ROOT / "scripts/train.py"), *chosen, *overrides, **environment)

    @property
    def runs(self):
        """Return all runs in the order in which they started."""
        files = self.path.rglob("config.yaml")
        return [Run(file.parent) for file in sorted(files, key=lambda f: f.stat().st_mtime_ns)]

    @property
    def only_run(self):
        (run,) = [Run(file.parent) for file in self.path.rglob("config.yaml")]
        return run


@pytest.fixture
def workplace(tmp_path):
    return Workplace(tmp_path / "work")
