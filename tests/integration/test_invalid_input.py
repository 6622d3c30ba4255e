"""Invalid input is reported in one readable sentence and has no other effect."""

from __future__ import annotations

import shutil

import pytest

from nn.cli.rerun import parse_rerun_request, rerun
from nn.config.compose import compose_config
from nn.errors import UserError
from nn.runs.runner import run
from tests.directory_snapshot import assert_unchanged

EXPECTED_MESSAGES = {
    "learning_rate=0.1": "learning_rate=0.1: there is no setting learning_rate; did you mean lr?",
    "momentum=0.9": "did you mean optimizer.momentum?",
    "optimizer.momentun=0.9": "did you mean optimizer.momentum?",
    "+colour=red": "colour=red: there is no setting colour",
    "optimizer=adm": "optimizer=adm: there is no such optimizer; did you mean adam?",
    "optimizer.lr=0.1": "there is no setting optimizer.lr; did you mean lr?",
    "optimizer.beta1=0.9": "optimizer.beta1 with the chosen option of optimizer",
    "LR=0.1": "LR=0.1: there is no setting LR; did you mean lr?",
    "model={a:1}": "model={a:1}: choose one option by its name; available: cnn, linear, mlp.",
    "model=transformer": "available: cnn, linear, mlp.",
    "dataset=imaginary": "dataset=imaginary: there is no such dataset",
    "experiment=imaginary": "available: descent_full_batch, descent_mini_batch, digits_best,",
    "optimizer=null": "optimizer=null: there is no such optimizer",
    "~optimizer": "optimizer: choose one option",
    "lr=abc": "lr=abc: lr must be a number above 0.",
    "+lr=0.2": "+lr: there is such a setting already; leave out the +.",
    "model@x=mlp": "model@x=mlp: an option cannot be given another package.",
    "lr='0.1'": "lr='0.1': lr must be a number above 0.",
    "lr=": "lr='': lr must be a number above 0.",
    "lr=true": "lr=true: lr must be a number above 0.",
    "lr=null": "lr=null: lr must be a number above 0.",
    "~lr": "lr must be a number above 0.",
    "batch_size=2.5": "batch_size=2.5: batch_size must be a whole number, at least 1, or all.",
    "epochs=1e3": "epochs=1e3: epochs must be a whole number, at least 1.",
    "optimizer.momentum=abc": (
        "optimizer.momentum=abc: optimizer.momentum must be a number, at least 0 and below 1."
    ),
    "optimizer.momentum=true": "optimizer.momentum=true: optimizer.momentum must be a number, at",
    "optimizer.momentum=1.5": "optimizer.momentum=1.5: optimizer.momentum must be a number, at",
    "lr=-1": "lr=-1: lr must be a number above 0.",
    "lr=0": "lr=0: lr must be a number above 0.",
    "lr=nan": "lr=nan: lr must be a number above 0.",
    "lr=inf": "lr=inf: lr must be a number above 0.",
    "batch_size=0": "batch_size=0: batch_size must be a whole number, at least 1, or all.",
    "depth=-1": "depth=-1: depth must be a whole number from 0 to 1000.",
    "epochs=0": "epochs=0: epochs must be a whole number, at least 1.",
    "width=0": "width=0: width must be a whole number, at least 1.",
    "seed=-1": "seed=-1: seed must be a whole number, at least 0.",
    "threads=0": "threads=0: threads must be a whole number from 1 to 512, or auto.",
    "threads=100000000000000000000": "threads must be a whole number from 1 to 512, or auto.",
    "threads=4": "threads=4 has no effect with shards=1, as BLAS uses one thread; add shards=4",
    "blas_threads=4": "blas_threads=4: there is no setting blas_threads; did you mean threads?",
    "shards=0": "shards=0: shards must be a whole number from 1 to 512, or auto.",
    "shards=33": "shards=33: a batch has only 32 samples; shards must be at most 32.",
    "depth=999999999999999999999": "depth must be a whole number from 0 to 1000.",
    "epochs=1.0": "epochs=1.0: epochs must be a whole number, at least 1.",
    "restore_best=all": "restore_best=all: restore_best must be true or false.",
    "patience=0": "patience=0: patience must be a whole number, at least 1, or null.",
    "samples_per_epoch=0": (
        "samples_per_epoch=0: samples_per_epoch must be a whole number from 1 to 10^8, or null."
    ),
    "batch_size=some": "batch_size=some: batch_size must be a whole number, at least 1, or all.",
    "weight_decay=-1": "weight_decay=-1: weight_decay must be a number, at least 0.",
    "dropout=1": "dropout=1: dropout must be a number, at least 0 and below 1.",
    "model=linear depth=3": "depth=3 has no effect with model=linear; leave it out.",
    "model=linear dropout=0.5": "dropout=0.5 has no effect with model=linear",
    "model=linear experiment=digits_best": "a preset sets it: add depth=null.",
    "model.depth=3": "model.depth=3: this is a top-level setting; set depth=3.",
    "optimizer.weight_decay=0.1": "this is a top-level setting; set weight_decay=0.1.",
    "depth=1 model.taper=0.3": "model.taper=0.3 has no effect with depth=1; leave it out.",
    "model=cnn model.channels=[4] depth=2": "depth=2 has no effect with model.channels=[4]",
    "patience=3 dataset.validation=0": "patience=3 needs a validation set",
    "restore_best=true dataset.validation=0": "restore_best=true needs a validation set",
    "schedule=plateau dataset.validation=0": "schedule=plateau needs a validation set",
    "patience=3 restore_best=false": "restore_best=false has no effect with patience=3.",
    "batch_size=1 model.normalization=batch": "batch_size=1: batch normalization needs more",
    "model=cnn model.kernel_size=-3": (
        "model.kernel_size=-3: model.kernel_size must be odd and at least 1."
    ),
    "model.hidden=[100000000000]": "model: a network of",
    "schedule._target_=nn.schedules.Schedule": "this class is abstract; choose a subclass.",
    "model._target_=builtins.len": "model._target_=builtins.len: there is no such class.",
    "model.hidden=[196,49] depth=3": "depth=3 has no effect with model.hidden=[196,49]",
    "model.hidden=[9] model.taper=0.7": "model.taper=0.7 has no effect with model.hidden=[9]",
    "depth=0 width=64": "width=64 has no effect with depth=0",
    "model.taper=0.001": "model.taper=0.001: model.taper must be large enough to leave each layer",
    "depth=12": "with depth=12 and width=128 there is none in hidden layer 9.",
    "model.taper=0": (
        "model.taper=0: model.taper must be a number above 0 and at most 1, or null."
    ),
    "model.hidden=196": "model.hidden must be a list like [1,2], each at least 1, or null.",
    "model.hidden=[64,0]": "model.hidden=[64,0]: model.hidden must be a list like [1,2], each",
    "width=1000000000000": "width=1000000000000 depth=2: a network of",
    "model.residual=true": "model.residual=true: model.residual must be false, or two hidden",
    "model.activation=swish": "model.activation must be one of relu, leaky_relu, sigmoid, tanh",
    "model=cnn depth=4": "Layer maxpool2d4: a kernel of 2 x 2 does not fit into images of 1 x 1.",
    "loss.class_weights=[1,2]": "loss.class_weights has 2 numbers, but there are 10 classes.",
    "loss=mse loss.apply_softmax=distances": "loss.apply_softmax must be true or false.",
    "loss.label_smoothing=1": ("loss.label_smoothing must be a number, at least 0 and below 1."),
    "optimizer=adam optimizer.beta1=1": "optimizer.beta1 must be a number, at least 0",
    "schedule=step schedule.step_size=0": (
        "schedule.step_size=0: schedule.step_size must be a whole number, at least 1."
    ),
    "dataset.test=0": ("dataset.test=0: dataset.test must be a number above 0 and below 1."),
    "dataset.test=0.999": "dataset.test=0.999: class 0 has 178 samples, of which 178 would be",
    "model._target_=nn.models.Nothing": "model._target_=nn.models.Nothing: there is no such class.",
    "loss._target_=nn.schedules.Constant": "there is no setting loss.label_smoothing",
    "loss=mse loss._target_=.foo.bar": "loss._target_=.foo.bar: there is no such class.",
    "tracking=sometimes": "available: auto, disabled, offline, online.",
    "tracking=online": "tracking=online: no W&B credentials found; run wandb login",
    "hydra.run.dir=": "hydra.run.dir='': the path is empty; name a directory.",
    "-m seed=1,2 hydra.run.dir=x": "hydra.run.dir=x has no effect here; set hydra.sweep.dir.",
    "hydra.sweep.dir=x": "hydra.sweep.dir=x has no effect here; set hydra.run.dir.",
    "hydra.run.dir=" + 300 * "x": "nothing can be written there: File name too long.",
    "-m lr=range(3,1)": "lr=range(3,1): it has no value.",
    "-m lr=interval(0.1,0.2)": "lr=interval(0.1,0.2): ",
    "lr=${nope}": "lr=${nope}: ",
    "--run --multirun": "Only one of --run, --multirun",
    "--cfg foo": "argument --cfg/-c: invalid choice: 'foo'",
    "tracking.project=a/b": "tracking.project=a/b: tracking.project must be at most 128 characters",
    "hydra.run.dir=/dev/null/runs": "hydra.run.dir=/dev/null/runs: nothing can be written there",
    "lr=0.1,0.2": "lr=0.1,0.2: several values need --multirun;",
    "lr": "lr: a setting is written KEY=VALUE",
    "lr=[1": "lr=[1: this cannot be parsed",
    "--lr=0.1": "--lr=0.1: settings are written without dashes: lr=0.1.",
    "--learning-rate 0.1": "--learning-rate: settings are written without dashes: lr=VALUE.",
    "--imaginary": "--imaginary: there is no such flag",
    "keep=best": "keep=best: keep was renamed; use restore_best=true.",
    "--keep=best": "--keep=best: keep was renamed; use restore_best=true.",
    "keep=all": "keep=all: keep was renamed; use restore_best=false or restore_best=true.",
    "tracking.every=5": (
        "tracking.every=5: tracking.every was renamed; use tracking.confusion_every=5."
    ),
    "+dataset.limit=90": "dataset.limit=90: dataset.limit was renamed; use dataset.max_samples=90.",
    "schedule=plateau schedule.gamma=0.3": (
        "schedule.gamma=0.3: schedule.gamma was renamed; use schedule.factor=0.3."
    ),
    "schedule=cosine schedule.gamma=0.3": (
        "there is no setting schedule.gamma with the chosen option of schedule; leave it out."
    ),
    "repeat=run": "repeat=run: repeat was renamed; use reproduce=run.",
    "resume=run repeat=run": "repeat=run: repeat was renamed; use reproduce=run.",
    "--multirun keep=last,best": "keep=last: keep was renamed; use restore_best=false.",
    "--multirun dataset.limit=90,100": (
        "dataset.limit=90: dataset.limit was renamed; use dataset.max_samples=90."
    ),
    "--multirun lr=0.1,-1": "lr=-1: lr must be a number above 0.",
    "--multirun lr=0.1,abc": "lr=abc: lr must be a number above 0.",
    "--multirun learning_rate=0.1,0.2": "did you mean lr?",
    "--multirun optimizer=sgd,adm": "optimizer=adm: there is no such optimizer",
    "--multirun optimizer.momentum=0.5,1.5": "optimizer.momentum=1.5:",
    "--multirun model=mlp,linear depth=1,2": "depth=1 has no effect with model=linear",
    "--multirun depth=1,12": "model.taper must be large enough",
}


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished_run") / "run"
    run(compose_config(["tracking=disabled", "model.hidden=[4]", "epochs=1"]), path)
    return path


@pytest.mark.sampled(24)
@pytest.mark.parametrize("args", EXPECTED_MESSAGES)
def test_invalid_input_gives_one_line_and_writes_nothing(workdir, finished_run, args):
    shutil.copytree(finished_run, workdir.path / "run")
    overrides = args.split()
    tracking = None if "tracking" in args else "disabled"
    with assert_unchanged(workdir.path):
        result = workdir.train(*overrides, tracking=tracking)
    assert result.returncode == 2, result.stdout + result.stderr
    assert EXPECTED_MESSAGES[args] in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("preset", "sentence"),
    [
        ("keep: best", "keep=best: keep was renamed; use restore_best=true."),
        (
            "tracking: {wait: 9}",
            "tracking.wait=9: tracking.wait was renamed; use tracking.finish_timeout=9.",
        ),
    ],
)
def test_renamed_preset_is_refused_with_its_new_name(workdir, preset, sentence):
    folder = workdir.path / "conf/experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"# @package _global_\n{preset}\n")
    with assert_unchanged(workdir.path):
        result = workdir.train("--config-dir", "conf", "experiment=mine")
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"{sentence}\n")


def test_custom_class_may_have_a_setting_with_an_old_name(workdir):
    (workdir.path / "own.py").write_text(
        "from nn.models import MLP\n\n\n"
        "def model(kernel, pool):\n    return MLP(hidden=[kernel, pool])\n"
    )
    (workdir.path / "conf/model").mkdir(parents=True)
    settings = "_target_: own.model\nkernel: 5\npool: 4\n"
    (workdir.path / "conf/model/own.yaml").write_text(settings)
    args = ["--config-dir", "conf", "model=own", "model.pool=3", "epochs=1"]
    result = workdir.train(*args, PYTHONPATH=".")
    assert result.returncode == 0, result.stderr


@pytest.mark.sampled(12)
@pytest.mark.parametrize("verb", ["resume", "reproduce"])
@pytest.mark.parametrize("args", EXPECTED_MESSAGES)
def test_invalid_input_with_resume_or_reproduce_leaves_the_run_unchanged(
    workdir, finished_run, monkeypatch, args, verb
):
    shutil.copytree(finished_run, workdir.path / "run")
    (workdir.path / "run/summary.json").unlink()
    monkeypatch.chdir(workdir.path)
    with assert_unchanged(workdir.path), pytest.raises(UserError):
        rerun(parse_rerun_request([f"{verb}=run", *args.split()]))
