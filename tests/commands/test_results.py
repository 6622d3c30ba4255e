"""One command trains the presets and writes the results tables, which are never typed by hand."""

from __future__ import annotations

import json
import re
import shutil
import signal
from datetime import date

import pytest
import yaml

from nn.config.compose import compose_config
from nn.runs.runner import run
from tests.conftest import ROOT
from tests.waiting import wait_until

RESULTS = str(ROOT / "scripts/results.py")
README = (ROOT / "scripts/README.md").read_text()
PRESETS = {path.stem for path in (ROOT / "conf/experiment").glob("*.yaml")}
LONG = {"mnist_mlp", "fashion_mlp", "mnist_cnn", "fashion_cnn"}
SHORT = PRESETS - LONG - {"digits_best"}
QUICK = "dataset=digits", "epochs=2", "tracking=disabled"
EMPTY = "before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n"


@pytest.fixture
def results(workplace):
    (workplace.path / "page.md").write_text(EMPTY)

    def results(*words, status=0):
        done = workplace.run(RESULTS, "--readme", "page.md", *words)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return results


def cells(text, preset):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{preset}`")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_row_tells_what_its_runs_have_reached(workplace, results):
    shown = results("mse_64_1_20", *QUICK).stdout
    accuracies = [100 * run.summary["test/accuracy"] for run in workplace.runs]
    assert len(accuracies) == 3
    mean = sum(accuracies) / 3
    deviation = (sum((each - mean) ** 2 for each in accuracies) / 2) ** 0.5
    assert cells(shown, "mse_64_1_20")[4] == f"{mean:.2f} ± {deviation:.2f}"
    seconds = sorted(run.summary["seconds"] for run in workplace.runs)
    assert cells(shown, "mse_64_1_20")[6] == f"{seconds[1]:.3g}"
    assert "mse_64_15_30" not in shown
    assert (workplace.path / "page.md").read_text() == EMPTY


def test_a_finished_run_is_used_again_wherever_it_is_and_only_if_its_settings_are_the_same(
    workplace, results
):
    shown = results("mse_64_1_20", "--quick", *QUICK).stdout
    assert "(one seed)" in cells(shown, "mse_64_1_20")[4]
    (folder,) = (workplace.path / "runs/results/mse_64_1_20").iterdir()
    folder.rename(workplace.path / "runs/results/moved")
    done = results("mse_64_1_20", "--quick", "dataset=digits", "epochs=2", "tracking=offline")
    assert "train.py" not in done.stdout
    assert cells(done.stdout, "mse_64_1_20") == cells(shown, "mse_64_1_20")
    done = results("mse_64_1_20", "--quick", "dataset=digits", "epochs=3", "tracking=disabled")
    assert "train.py" in done.stdout


@pytest.mark.soak
def test_the_caption_says_how_many_seeds_were_run(results):
    one = "Test accuracy of one seed, and the seconds of its training, one core of "
    many = "Test accuracy, mean and standard deviation of {} seeds, and the median of the seconds"
    assert one in results("mse_64_1_20", "--quick", *QUICK).stdout
    assert many.format(3) in results("mse_128_1_30", *QUICK).stdout
    shown = results("mse_64_1_20", "mse_128_1_30", "--quick", *QUICK).stdout
    assert many.format("1 to 3") in shown


@pytest.mark.soak
def test_quick_leaves_out_other_seeds_and_what_takes_minutes(workplace, results):
    done = results("--quick", *QUICK)
    # on digits a preset for Fashion-MNIST may equal one for MNIST, whose run is then reused
    assert asked(done) == SHORT - {"fashion_mlp_seconds"}
    assert "seed=1" not in done.stdout
    page = (workplace.path / "page.md").read_text()
    assert page.startswith("before\n<!-- results -->\n")
    assert page.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in page
    assert cells(page, "fashion_mlp_seconds")[4] == cells(page, "mnist_mlp_seconds")[4]
    assert cells(page, "mnist_cnn")[4] == "—"


@pytest.mark.soak
def test_every_preset_that_takes_minutes_trains(results):
    assert asked(results("--quick", *LONG, "dataset=digits", "epochs=1")) == LONG


def asked(done):
    return set(re.findall(r"experiment=(\S+) seed=0", done.stdout))


def test_a_run_that_was_cut_off_goes_on(workplace, results):
    words = "mse_64_1_20", "--quick", "dataset=digits", "epochs=60", "checkpoint_every=0"
    process = workplace.start(RESULTS, "--readme", "page.md", *words)
    history = "runs/results/mse_64_1_20/*/history.jsonl"
    wait_until(
        lambda: any(path.read_text().count("\n") > 2 for path in workplace.path.glob(history))
    )
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    done = results(*words)
    assert "train.py resume=runs/results/mse_64_1_20/0-" in done.stdout
    assert len(workplace.only_run.history) == 60
    assert workplace.only_run.summary["status"] == "finished"


def test_a_foreign_run_is_skipped_with_a_sentence(workplace, results):
    runs = workplace.path / "runs"
    run(compose_config([*QUICK, "epochs=1"]), runs / "good")
    changes = {
        "no_dataset": ("config.yaml", {"dataset": None}),
        "a_date": ("config.yaml", {"model": {"since": date(2020, 1, 1)}}),
        "no_score": ("summary.json", {"test/accuracy": None}),
        "odd_score": ("summary.json", {"test/accuracy": "high"}),
        "no_processor": ("environment.json", {"cpu_model": None}),
        "odd_packages": ("environment.json", {"packages": [1]}),
    }
    for name, (file_name, changed) in changes.items():
        shutil.copytree(runs / "good", runs / name)
        file = runs / name / file_name
        content = {**yaml.safe_load(file.read_text()), **changed}
        file.write_text((yaml.safe_dump if "date" in name else json.dumps)(content))
    done = results("mse_64_1_20", "--quick", "--output", "runs", *QUICK)
    skipped = "is skipped: its settings or results are not as train.py writes them."
    assert done.stderr.splitlines() == [f"runs/{name} {skipped}" for name in sorted(changes)]
    assert "(one seed)" in cells(done.stdout, "mse_64_1_20")[4]


def test_an_option_of_an_earlier_version_is_refused_with_the_new_name(results):
    told = results("--root", "data", status=2).stderr
    assert told.endswith("argument --root: this option was renamed; use --data-root\n")


def test_every_preset_of_the_comparison_is_in_its_sweep():
    sweep = yaml.safe_load((ROOT / "sweeps/claims.yaml").read_text())
    compared = {name for name in PRESETS if name.startswith(("mse", "entropy"))}
    assert set(sweep["parameters"]["experiment"]["values"]) == compared
    assert len(compared) == 9


def test_every_preset_has_its_row_in_the_readme():
    for preset in PRESETS - {"digits_best"}:
        assert "±" in cells(README, preset)[4], preset


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["imaginary"], "imaginary: there is no such preset; there is mnist_drawn_055,"),
        (["--readme", "absent.md"], "absent.md cannot be read: No such file or directory."),
        (["--readme", "bare.md"], "bare.md: <!-- results --> and"),
        (["lr=much"], "lr=much: lr must be a number above 0."),
    ],
)
def test_a_mistake_costs_a_sentence_and_runs_nothing(workplace, results, words, told):
    (workplace.path / "bare.md").write_text("bare")
    done = results(*words, status=2)
    assert done.stderr.startswith(told)
    assert not workplace.runs
    assert (workplace.path / "page.md").read_text() == EMPTY
