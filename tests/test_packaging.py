"""The installed package works without a clone, from any directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from tests.conftest import ROOT, RunDir

SWEEP_CONFIG = {
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {"lr": {"min": 0.01, "max": 0.5}, "epochs": {"value": 2}},
}


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory):
    """Build a wheel from a copy of the source tree and install it without dependencies."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("conf", "nn", "sweeps"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True
    )
    return target


@pytest.fixture
def run_command(site_packages, tmp_path):
    """Run a console command of the installed package in an empty directory with a space."""
    directory = tmp_path / "an empty directory"
    directory.mkdir()

    def run(command, *arguments):
        return subprocess.run(
            [sys.executable, site_packages / "bin" / command, *arguments],
            cwd=directory,
            env={
                **os.environ,
                "PATH": f"{site_packages / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(site_packages),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )

    run.directory = directory
    return run


def test_console_commands_run_in_an_empty_directory(run_command):
    trained = run_command("nn-train", "lr=0.055", "epochs=2", "hydra.run.dir=run")
    assert trained.returncode == 0, trained.stderr
    assert RunDir(run_command.directory / "run").summary["status"] == "finished"
    helped = run_command("nn-train", "--help")
    assert "\n  nn-train lr=0.055 depth=3 " in helped.stdout
    assert "python" not in helped.stdout
    own_model, option = map(run_command.directory.joinpath, ("mine.py", "my conf/model/own.yaml"))
    own_model.write_text("from nn.models import MLP\n\nclass Own(MLP):\n    pass\n")
    option.parent.mkdir(parents=True)
    option.write_text("defaults: [mlp]\n_target_: mine.Own\n")
    sweep_file = run_command.directory / "my sweep.yaml"
    sweep_file.write_text(yaml.dump(SWEEP_CONFIG))
    own = ("--config-dir", "my conf", "model=own")
    result = run_command("nn-sweep", sweep_file.name, "--name", "mine", "--count", "2", *own)
    assert result.returncode == 0, result.stderr
    assert "\n  nn-train --config-dir 'my conf' " in result.stdout
    reported = run_command("nn-report", "runs/sweeps/mine")
    assert reported.returncode == 0, reported.stderr
    assert (run_command.directory / "runs/sweeps/mine/report.html").exists()
    trial = "runs/sweeps/mine/trials/0000"
    predicted = run_command("nn-predict", trial, "missing.csv", "--trust", "mine")
    assert predicted.returncode == 2
    assert predicted.stderr.startswith("missing.csv: ")
    uploaded = run_command("nn-upload", "run")
    assert uploaded.returncode == 2
    assert uploaded.stderr.startswith("nn-upload: ")
    assert "WANDB_API_KEY" in uploaded.stderr


def test_wheel_contains_every_config_and_sweep_file(site_packages):
    for source, target in (("conf", "nn/conf"), ("sweeps", "nn/sweep_files")):
        names = {path.relative_to(ROOT / source) for path in (ROOT / source).rglob("*.yaml")}
        installed = site_packages / target
        assert names == {path.relative_to(installed) for path in installed.rglob("*.yaml")}
    assert (site_packages / "nn/py.typed").exists()


def test_every_package_is_listed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"]) - {"nn.conf", "nn.sweep_files"}
    packages = {file.parent.relative_to(ROOT) for file in (ROOT / "nn").rglob("__init__.py")}
    assert listed == {".".join(path.parts) for path in packages}
