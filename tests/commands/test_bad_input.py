"""A mistake costs its user one readable sentence and nothing else."""

from __future__ import annotations

import pytest

SENTENCES = {
    "learning_rate=0.1": "learning_rate=0.1: there is no setting learning_rate; did you mean lr?",
    "momentum=0.9": "did you mean optimizer.momentum?",
    "optimizer.momentun=0.9": "did you mean optimizer.momentum?",
    "+colour=red": "colour=red: there is no setting colour",
    "optimizer=adm": "optimizer=adm: there is no such optimizer",
    "model=transformer": "there is linear, mlp.",
    "dataset=imaginary": "dataset=imaginary: there is no such dataset",
    "experiment=imaginary": "there is digits_best.",
    "optimizer=null": "optimizer=null: there is no such optimizer",
    "~optimizer": "optimizer: choose one option",
    "lr=abc": "lr=abc: lr must be a number above 0.",
    "lr=": "lr='': lr must be a number above 0.",
    "lr=true": "lr=true: lr must be a number above 0.",
    "lr=null": "lr=null: lr must be a number above 0.",
    "~lr": "lr must be a number above 0.",
    "batch_size=2.5": "batch_size=2.5: batch_size must be a whole number, at least 1.",
    "epochs=1e3": "epochs=1e3: epochs must be a whole number, at least 1.",
    "optimizer.momentum=abc": "optimizer.momentum=abc: optimizer.momentum must be a number.",
    "optimizer.momentum=true": "optimizer.momentum=true: optimizer.momentum must be a number.",
    "optimizer.momentum=1.5": "optimizer.momentum=1.5: optimizer.momentum must be at least 0 and",
    "lr=-1": "lr=-1: lr must be a number above 0.",
    "lr=0": "lr=0: lr must be a number above 0.",
    "lr=nan": "lr=nan: lr must be a number above 0.",
    "lr=inf": "lr=inf: lr must be a number above 0.",
    "batch_size=0": "batch_size=0: batch_size must be a whole number, at least 1.",
    "depth=-1": "depth=-1: depth must be a whole number, at least 0.",
    "epochs=0": "epochs=0: epochs must be a whole number, at least 1.",
    "width=0": "width=0: width must be a whole number, at least 1.",
    "seed=-1": "seed=-1: seed must be a whole number, at least 0.",
    "threads=0": "threads=0: threads must be a whole number, at least 1.",
    "weight_decay=-1": "weight_decay=-1: weight_decay must be a number, at least 0.",
    "dropout=1": "dropout=1: dropout must be a number, at least 0 and below 1.",
    "model=linear depth=3": "depth=3 has no effect with model=linear; leave it out.",
    "model=linear dropout=0.5": "dropout=0.5 has no effect with model=linear",
    "model=linear experiment=digits_best": "has no effect with model=linear",
    "model.hidden=[196,49] depth=3": "depth=3 has no effect beside model.hidden=[196,49]",
    "model.hidden=[9] model.taper=0.7": "model.taper=0.7 has no effect beside model.hidden=[9]",
    "depth=0 width=64": "width=64 has no effect beside depth=0",
    "model.taper=0.001": "model.taper=0.001: model.taper must be large enough to leave each layer",
    "depth=12": "with depth=12 and width=128 there is none in hidden layer 9.",
    "model.taper=0": "model.taper=0: model.taper must be above 0, at most 1.",
    "model.hidden=196": "model.hidden=196: model.hidden must be a list like [1, 2] or null.",
    "model.hidden=[64,0]": "model.hidden=[64,0]: model.hidden must be a list of positive sizes.",
    "width=1000000000000": "more than this machine can hold",
    "dataset.test=0": "dataset.test=0: dataset.test must be above 0 and below 1.",
    "dataset.test=0.999": "dataset.test=0.999: class 0 has 178 samples, too few",
    "model._target_=nn.models.Nothing": "model._target_=nn.models.Nothing: there is no such class.",
    "tracking=sometimes": "there is auto, disabled, offline, online.",
    "tracking=online": "tracking=online: there are no W&B credentials here; run wandb login",
    "hydra.run.dir=": "hydra.run.dir='': name a folder.",
    "hydra.run.dir=/dev/null/runs": "hydra.run.dir=/dev/null/runs: nothing can be written there",
    "lr=0.1,0.2": "lr=0.1,0.2: several values need --multirun in front",
    "lr": "lr: a setting is written KEY=VALUE",
    "lr=[1": "lr=[1: this cannot be read",
    "--lr=0.1": "--lr=0.1: settings have no dashes: lr=0.1.",
    "--learning-rate 0.1": "--learning-rate: settings have no dashes: lr=VALUE.",
    "--imaginary": "--imaginary: there is no such flag",
    "--multirun lr=0.1,-1": "lr=-1: lr must be a number above 0.",
    "--multirun lr=0.1,abc": "lr=abc: lr must be a number above 0.",
    "--multirun learning_rate=0.1,0.2": "did you mean lr?",
    "--multirun optimizer=sgd,adm": "optimizer=adm: there is no such optimizer",
    "--multirun optimizer.momentum=0.5,1.5": "optimizer.momentum=1.5:",
    "--multirun model=mlp,linear depth=1,2": "depth=1 has no effect with model=linear",
    "--multirun depth=1,12": "model.taper must be large enough",
}


@pytest.mark.parametrize("words", SENTENCES)
def test_a_mistake_is_told_in_one_sentence_and_leaves_nothing(workplace, words):
    overrides = words.split()
    tracking = None if "tracking" in words else "disabled"
    done = workplace.train(*overrides, tracking=tracking)
    assert done.returncode == 2, done.stdout + done.stderr
    assert SENTENCES[words] in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert list(workplace.path.iterdir()) == []
