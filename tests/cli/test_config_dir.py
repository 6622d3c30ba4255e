"""A user's own conf/ and package, in the working directory, work in every command."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import yaml

from nn.config.compose import compose_config
from nn.config.search_path import set_config_dir
from nn.errors import UserError
from nn.report.data.sweep import SweepReader
from tests.conftest import ROOT

TRAIN, SWEEP, PREDICT = (str(ROOT / f"scripts/{name}.py") for name in ("train", "sweep", "predict"))
OPTIMIZER = """
from nn.optimizers import SGD

class Mine(SGD):
    def __init__(self, momentum: float = 0.5, boost: float = 1.0):
        super().__init__(momentum=momentum)
        self.boost = boost
"""
SWEEP_CONFIG = {
    "method": "grid",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {"optimizer": {"values": ["sgd", "mine"]}},
}
OWN = ("--config-dir", "my/conf")
QUICK = ("tracking=disabled", "epochs=1")


@pytest.fixture
def workdir(workdir):
    """Write an optimizer of the user's own, and an option that chooses it."""
    (workdir.path / "mypackage").mkdir()
    (workdir.path / "mypackage/optim.py").write_text(OPTIMIZER)
    options = workdir.path / "my/conf/optimizer"
    options.mkdir(parents=True)
    (options / "mine.yaml").write_text("_target_: mypackage.optim.Mine\nboost: 1.5\n")
    (workdir.path / "small.yaml").write_text(yaml.safe_dump(SWEEP_CONFIG))
    return workdir


def test_run_is_trained_resumed_reproduced_and_used_for_prediction(workdir):
    def run(*arguments, status=0):
        done = workdir.run(*arguments)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(TRAIN, *OWN, "optimizer=mine", *QUICK, "hydra.run.dir=run")
    refused = run(TRAIN, *OWN, "resume=run", "epochs=2", status=2)
    assert refused.endswith("mypackage is not trusted to run; trust=mypackage allows it.\n")
    run(TRAIN, *OWN, "resume=run", "epochs=2", "trust=mypackage")
    reproduced = run(TRAIN, "reproduce=run", "trust=mypackage", "tracking=disabled")
    assert "bit-identical" in reproduced
    np.save(workdir.path / "images.npy", np.zeros((2, 8, 8)))
    assert "1: " in run(PREDICT, "run", "images.npy", "--trust", "mypackage")
    assert run(TRAIN, "--config-dir", "no", status=2) == (
        "--config-dir=no: there is no such directory.\n"
    )


def test_sweep_records_the_config_dir_for_workers_and_resume(workdir):
    assert workdir.run(SWEEP, "small.yaml", *OWN, "--check").returncode == 0
    swept = workdir.run(SWEEP, "small.yaml", *OWN, *QUICK, "--count", "1")
    assert swept.returncode == 0, swept.stderr
    other = workdir.run(SWEEP, "small.yaml", "--config-dir", "my", "--resume")
    assert other.returncode == 2
    assert other.stderr == (
        "--config-dir=my: this sweep was started with my/conf; --name=NAME starts a new one.\n"
    )
    resumed = workdir.run(SWEEP, "small.yaml", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    targets = {
        yaml.safe_load((run.path / "config.yaml").read_text())["optimizer"]["_target_"]
        for run in workdir.runs
    }
    assert targets == {"nn.optimizers.SGD", "mypackage.optim.Mine"}
    command = shlex.split(resumed.stdout.splitlines()[-1])
    assert command[:4] == ["python", TRAIN, *OWN]
    details = SweepReader(workdir.path / "runs/sweeps/small").details()
    assert "trust=mypackage" in details["reproduce_commands"][0]


@pytest.fixture
def own_option(tmp_path):
    """Make the directory of a user's own option that this process uses."""
    (tmp_path / "my conf/optimizer").mkdir(parents=True)
    option = tmp_path / "my conf/optimizer/mine.yaml"
    option.write_text("_target_: nn.optimizers.SGD\nmomentum: 0.7\n")
    (option.parent / "damaged.yaml").write_text("momentum: [\n")
    yield tmp_path / "my conf"
    set_config_dir(None)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optimizer=mne", "there is no such optimizer; did you mean mine?"),
        ("optimizer.beta1=1", "there is no setting optimizer.beta1 with the chosen option"),
        ("optimizer=damaged", "my conf/optimizer/damaged.yaml, line 2: this is not YAML: "),
    ],
)
def test_hint_lists_custom_options(own_option, override, sentence):
    set_config_dir(own_option)
    with pytest.raises(UserError) as told:
        compose_config([override])
    assert sentence in str(told.value)


def test_hydras_search_path_is_searched_in_addition(own_option, tmp_path):
    with pytest.raises(UserError, match="available: adagrad, adam, adamw, momentum"):
        compose_config(["optimizer=mine"])
    search_path = f"hydra.searchpath=['file://{own_option}']"
    composed = compose_config([search_path, "optimizer=mine", "lr=0.1"])
    assert dict(composed)["optimizer"]["momentum"] == 0.7
    (tmp_path / "other/optimizer").mkdir(parents=True)
    (tmp_path / "other/optimizer/yours.yaml").write_text("_target_: nn.optimizers.Adam\n")
    set_config_dir(tmp_path / "other")
    assert compose_config([search_path, "optimizer=mine", "lr=0.1"]) == composed
    yours = dict(compose_config([search_path, "optimizer=yours"]))
    assert yours["choices"]["optimizer"] == "yours"
    with pytest.raises(UserError, match=r"hydra.searchpath=x: write a list, such as \[my/conf\]"):
        compose_config(["hydra.searchpath=x"])
