"""Runs in shards: threads never change the bits, and runs of earlier versions can be continued."""

from __future__ import annotations

import re
import signal

import numpy as np
import pytest
import yaml

from nn.cli.rerun import parse_rerun_request, rerun
from nn.config.compose import compose_config
from nn.errors import DivergedError, UserError
from nn.predict.predictor import Predictor
from nn.runs.runner import run
from nn.runs.signals import SignalInterrupt
from tests.conftest import RunDir

QUICK_OVERRIDES = (
    "tracking=disabled",
    "dataset.max_samples=400",
    "width=8",
    "batch_size=31",  # which two, three or five shards do not divide
    "epochs=3",
)


def quick_run(path, *overrides):
    run(compose_config([*QUICK_OVERRIDES, *overrides]), path, verbose=False)
    return RunDir(path)


@pytest.mark.parametrize("num_shards", [1, 2, 5])
@pytest.mark.parametrize(
    "settings",
    [
        "dropout=0.3 augmentation=affine model.normalization=batch",
        "model=cnn optimizer=adam dropout=0.2 restore_best=true",
        "model.residual=true model.taper=1 samples_per_epoch=100",
    ],
)
def test_threads_never_change_the_bits(tmp_path, settings, num_shards):
    runs = [
        quick_run(
            tmp_path / f"{threads}", *settings.split(), f"shards={num_shards}", f"threads={threads}"
        )
        for threads in (1, 2, 4)
    ]
    for other in runs[1:]:
        assert other.exact_results == runs[0].exact_results


def test_one_shard_is_the_default_and_is_recorded_with_one_thread(tmp_path):
    config = compose_config(QUICK_OVERRIDES)
    assert (config.shards, config.threads) == (1, 1)
    shards_run = quick_run(tmp_path / "explicit", "shards=1", "threads=4")
    assert quick_run(tmp_path / "default").exact_results == shards_run.exact_results
    assert yaml.safe_load((tmp_path / "explicit/config.yaml").read_text())["threads"] == 1


def test_automatic_number_of_shards_is_recorded_as_a_number(tmp_path):
    quick_run(tmp_path / "run", "shards=auto")
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["shards"] == 1


def test_scores_of_shards_agree_with_those_of_the_whole_batch(tmp_path):
    whole, sharded = (
        quick_run(tmp_path / f"{n}", f"shards={n}", "model.normalization=batch", "dropout=0.2")
        for n in (1, 3)
    )
    for one, other in zip(whole.history, sharded.history, strict=True):
        assert other["train/loss"] == pytest.approx(one["train/loss"], rel=1e-3)
        assert other["val/loss"] == pytest.approx(one["val/loss"], rel=1e-3)
    assert whole.exact_results != sharded.exact_results


def test_run_is_resumed_with_another_number_of_threads_to_the_same_bits(tmp_path):
    whole = quick_run(tmp_path / "whole", "shards=2", "threads=1", "dropout=0.3")
    config = compose_config([*QUICK_OVERRIDES, "shards=2", "threads=1", "dropout=0.3"])

    def interrupt(_record):
        raise SignalInterrupt(signal.SIGTERM)

    with pytest.raises(SignalInterrupt):
        run(config, tmp_path / "resumed", False, interrupt, verbose=False)
    request = parse_rerun_request([f"resume={tmp_path / 'resumed'}", "threads=2"])
    assert rerun(request) == 0
    assert RunDir(tmp_path / "resumed").exact_results == whole.exact_results
    refused = parse_rerun_request([f"resume={tmp_path / 'resumed'}", "threads=many"])
    with pytest.raises(UserError, match="threads=many: threads must be a whole number"):
        rerun(refused)


def test_divergence_in_shards_is_reported_as_usual(tmp_path, recwarn):
    with pytest.raises(DivergedError):
        quick_run(tmp_path / "run", "shards=2", "lr=1e30")
    assert RunDir(tmp_path / "run").summary["status"] == "diverged"
    assert not recwarn


def test_profile_of_shards_adds_up(tmp_path, capsys):
    config = compose_config([*QUICK_OVERRIDES, "shards=2", "profile=true"])
    run(config, tmp_path / "run")
    rows = re.findall(r"^  (\S.*?) +(\S+) s +\S+%$", capsys.readouterr().out, re.MULTILINE)
    seconds = {part: float(spent) for part, spent in rows}
    assert {"dense1 forward", "dense1 backward", "training loop"} <= seconds.keys()
    assert min(seconds.values()) >= 0


@pytest.fixture
def run_of_earlier_version(tmp_path):
    """A run that was interrupted in a version in which threads were those of BLAS."""
    path = tmp_path / "earlier"
    config = compose_config(QUICK_OVERRIDES)

    def interrupt(_record):
        raise SignalInterrupt(signal.SIGTERM)

    with pytest.raises(SignalInterrupt):
        run(config, path, False, interrupt, verbose=False)
    edit_config(path, lambda settings: settings.pop("shards"))
    return path


def edit_config(path, edit):
    settings = yaml.safe_load((path / "config.yaml").read_text())
    edit(settings)
    (path / "config.yaml").write_text(yaml.safe_dump(settings))


def test_run_of_an_earlier_version_with_one_thread_is_resumed_to_the_same_bits(
    tmp_path, run_of_earlier_version
):
    assert rerun(parse_rerun_request([f"resume={run_of_earlier_version}"])) == 0
    whole = quick_run(tmp_path / "whole")
    assert RunDir(run_of_earlier_version).exact_results == whole.exact_results


@pytest.mark.parametrize("action", ["resume", "reproduce"])
def test_run_of_an_earlier_version_with_blas_threads_is_refused_but_predicts(
    run_of_earlier_version, action
):
    edit_config(run_of_earlier_version, lambda settings: settings.update(threads=4))
    with pytest.raises(UserError, match="its bits depend on threads=4, which set the threads of"):
        rerun(parse_rerun_request([f"{action}={run_of_earlier_version}"]))
    predictor = Predictor.from_run(run_of_earlier_version)
    assert predictor.predict_proba(np.zeros((1, 1, 8, 8), np.float32)).shape == (1, 10)
