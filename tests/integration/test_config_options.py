"""Every option of every config group, selected alone on the command line, trains well."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT

CONFIG_GROUPS = ("model", "optimizer", "schedule", "loss", "augmentation")
GROUP_OPTIONS = [
    f"{group}={option.stem}"
    for group in CONFIG_GROUPS
    for option in sorted((ROOT / "conf" / group).glob("*.yaml"))
]
OTHER_OVERRIDES = [
    *(f"model.activation={name}" for name in ("leaky_relu", "tanh", "gelu", "silu")),
    "model.activation=sigmoid lr=1",
    *(f"model.normalization={name}" for name in ("batch", "layer")),
    *(
        f"model.initializer={name}"
        for name in ("he_uniform", "xavier_normal", "lecun_uniform", "orthogonal")
    ),
    "model.residual=true model.taper=1 depth=4",
    "model=cnn model.pooling=average",
    "model=cnn model.normalization=layer",
    "loss.label_smoothing=0.1",
    "loss.class_weights=[1,2,1,2,1,2,1,2,1,2]",
    "loss=mse loss.apply_softmax=false",
    "optimizer.max_grad_norm=1",
    "optimizer.decoupled_weight_decay=true weight_decay=0.01",
    "schedule.warmup_epochs=2",
    "restore_best=true",
    "patience=3",
    "samples_per_epoch=1000",
    "dropout=0.2",
    "depth=1",
]


@pytest.mark.sampled(8)
@pytest.mark.parametrize("overrides", [*GROUP_OPTIONS, *OTHER_OVERRIDES])
def test_each_option_learns_digits_in_ten_epochs(workdir, overrides):
    result = workdir.train("epochs=10", *overrides.split())
    assert result.returncode == 0, result.stderr
    assert workdir.only_run.summary["test/accuracy"] >= 0.85


def test_full_batch_training_takes_one_step_per_epoch(workdir):
    result = workdir.train("batch_size=all", "lr=0.5", "epochs=300")
    assert result.returncode == 0, result.stderr
    assert workdir.only_run.summary["test/accuracy"] >= 0.85


def test_restore_best_restores_the_best_epoch(workdir):
    overrides = ["epochs=12", "lr=0.5", "seed=3"]
    assert workdir.train(*overrides, "restore_best=true", "hydra.run.dir=best").returncode == 0
    best = workdir.only_run
    epoch = best.summary["best/epoch"]
    assert best.summary["val/accuracy"] == best.history[epoch - 1]["val/accuracy"]
    assert workdir.train("hydra.run.dir=again", "restore_best=false", *overrides).returncode == 0
    last = next(run for run in workdir.runs if run.path.name == "again")
    assert last.summary["val/accuracy"] == last.history[-1]["val/accuracy"]
    assert last.summary["best/epoch"] == epoch
    if epoch != 12:
        assert best.summary["weights/sha256"] != last.summary["weights/sha256"]


def test_patience_stops_training_without_improvement(workdir):
    assert workdir.train("epochs=500", "patience=4").returncode == 0
    summary = workdir.only_run.summary
    assert summary["epochs"] == summary["best/epoch"] + 4 < 500
    history = workdir.only_run.history
    assert summary["val/accuracy"] == max(line["val/accuracy"] for line in history)


def test_samples_per_epoch_limits_an_epoch(workdir):
    assert workdir.train("epochs=1", "samples_per_epoch=100", "batch_size=30").returncode == 0
    (line,) = workdir.only_run.history
    assert (line["train/accuracy"] * 100) % 1 == pytest.approx(0, abs=1e-9)


def test_layer_table_counts_parameters(workdir):
    result = workdir.train("model=cnn", "epochs=1")
    assert "conv2d1     16 x 8 x 8" in result.stdout
    assert "batchnorm1  16 x 8 x 8" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    counts = [int(row[-1].replace(",", "")) for row in rows if row and row[0].startswith("dense")]
    assert counts == [32 * 2 * 2 * 128 + 128, 128 * 10 + 10]


def test_debug_fast_runs_everything_in_two_epochs(workdir):
    result = workdir.train("debug=fast", tracking=None)
    assert result.returncode == 0, result.stderr
    assert workdir.only_run.summary["epochs"] == 2
    assert not (workdir.only_run.path / "wandb").exists()


def test_debug_overfit_fits_a_hundred_samples(workdir):
    result = workdir.train("debug=overfit", "experiment=digits_best", tracking=None)
    assert result.returncode == 0, result.stderr
    assert workdir.only_run.history[-1]["train/accuracy"] == 1


def test_debug_profile_shows_the_time_of_every_layer(workdir):
    workdir.train("epochs=3", "hydra.run.dir=plain")
    result = workdir.train("epochs=3", "debug=profile", "hydra.run.dir=profiled")
    assert result.returncode == 0, result.stderr
    table = result.stdout.partition("Epoch time by component:\n")[2].splitlines()
    parts = {line[:22].strip() for line in table}
    layers = ("flatten1", "dense1", "relu1", "dense2", "relu2", "dense3")
    assert {f"{layer} forward" for layer in layers} <= parts
    assert {"dense1 backward", "batches", "loss", "optimizer", "evaluation", "tracking"} <= parts
    assert sum(float(line.split()[-1].rstrip("%")) for line in table) == pytest.approx(100, abs=2)
    plain, profiled = workdir.runs
    assert plain.summary["weights/sha256"] == profiled.summary["weights/sha256"]
