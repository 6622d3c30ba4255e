"""Every option of every config group, selected alone on the command line, trains well."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT

GROUPS = ("model", "optimizer", "schedule", "loss", "augmentation")
CHOICES = [
    f"{group}={option.stem}"
    for group in GROUPS
    for option in sorted((ROOT / "conf" / group).glob("*.yaml"))
]
OPTIONS = [
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


@pytest.mark.sampled(16)
@pytest.mark.parametrize("words", [*CHOICES, *OPTIONS])
def test_a_choice_alone_learns_the_digits_in_ten_epochs(workplace, words):
    done = workplace.train("epochs=10", *words.split())
    assert done.returncode == 0, done.stderr
    assert workplace.only_run.summary["test/accuracy"] >= 0.85


def test_a_full_batch_learns_as_one_step_an_epoch(workplace):
    done = workplace.train("batch_size=all", "lr=0.5", "epochs=300")
    assert done.returncode == 0, done.stderr
    assert workplace.only_run.summary["test/accuracy"] >= 0.85


def test_the_best_weights_are_those_of_the_best_epoch(workplace):
    words = ["epochs=12", "lr=0.5", "seed=3"]
    assert workplace.train(*words, "restore_best=true", "hydra.run.dir=best").returncode == 0
    best = workplace.only_run
    epoch = best.summary["best/epoch"]
    assert best.summary["val/accuracy"] == best.history[epoch - 1]["val/accuracy"]
    assert workplace.train("hydra.run.dir=again", "restore_best=false", *words).returncode == 0
    last = next(run for run in workplace.runs if run.path.name == "again")
    assert last.summary["val/accuracy"] == last.history[-1]["val/accuracy"]
    assert last.summary["best/epoch"] == epoch
    if epoch != 12:
        assert best.summary["weights/sha256"] != last.summary["weights/sha256"]


def test_patience_ends_a_training_that_gets_no_better(workplace):
    assert workplace.train("epochs=500", "patience=4").returncode == 0
    summary = workplace.only_run.summary
    assert summary["epochs"] == summary["best/epoch"] + 4 < 500
    history = workplace.only_run.history
    assert summary["val/accuracy"] == max(line["val/accuracy"] for line in history)


def test_draws_say_how_many_samples_an_epoch_has(workplace):
    assert workplace.train("epochs=1", "samples_per_epoch=100", "batch_size=30").returncode == 0
    (line,) = workplace.only_run.history
    assert (line["train/accuracy"] * 100) % 1 == pytest.approx(0, abs=1e-9)


def test_the_table_of_layers_counts_parameters(workplace):
    done = workplace.train("model=cnn", "epochs=1")
    assert "conv2d1     16 x 8 x 8" in done.stdout
    assert "batchnorm1  16 x 8 x 8" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    counts = [int(row[-1].replace(",", "")) for row in rows if row and row[0].startswith("dense")]
    assert counts == [32 * 2 * 2 * 128 + 128, 128 * 10 + 10]


def test_debug_fast_goes_through_everything_in_two_epochs(workplace):
    done = workplace.train("debug=fast", tracking=None)
    assert done.returncode == 0, done.stderr
    assert workplace.only_run.summary["epochs"] == 2
    assert not (workplace.only_run.path / "wandb").exists()


def test_debug_overfit_learns_a_hundred_samples_by_heart(workplace):
    done = workplace.train("debug=overfit", "experiment=digits_best", tracking=None)
    assert done.returncode == 0, done.stderr
    assert workplace.only_run.history[-1]["train/accuracy"] == 1


def test_debug_profile_tells_the_time_of_every_layer(workplace):
    workplace.train("epochs=3", "hydra.run.dir=plain")
    done = workplace.train("epochs=3", "debug=profile", "hydra.run.dir=profiled")
    assert done.returncode == 0, done.stderr
    table = done.stdout.partition("Epoch time by component:\n")[2].splitlines()
    parts = {line[:22].strip() for line in table}
    layers = ("flatten1", "dense1", "relu1", "dense2", "relu2", "dense3")
    assert {f"{layer} forward" for layer in layers} <= parts
    assert {"dense1 backward", "batches", "loss", "optimizer", "evaluation", "tracking"} <= parts
    assert sum(float(line.split()[-1].rstrip("%")) for line in table) == pytest.approx(100, abs=2)
    plain, profiled = workplace.runs
    assert plain.summary["weights/sha256"] == profiled.summary["weights/sha256"]
