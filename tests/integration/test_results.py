"""One command trains the presets and writes the results tables, which are never typed by hand."""

from __future__ import annotations

import json
import re
import shutil
import signal

import pytest
import yaml

from nn.config.compose import compose_config
from nn.runs.runner import run
from tests.conftest import RESULTS_SCRIPT, ROOT
from tests.waiting import wait_until

README = (ROOT / "scripts/README.md").read_text()
PRESETS = {path.stem for path in (ROOT / "conf/experiment").glob("*.yaml")}
SLOW_PRESETS = {"mnist_mlp", "fashion_mlp", "mnist_cnn", "fashion_cnn"}
FAST_PRESETS = PRESETS - SLOW_PRESETS - {"digits_best"}
QUICK_OVERRIDES = "dataset=digits", "epochs=2", "tracking=disabled"
PAGE_TEMPLATE = "before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n"


@pytest.fixture
def run_results(workdir):
    (workdir.path / "page.md").write_text(PAGE_TEMPLATE)

    def results(*args, status=0):
        result = workdir.run(RESULTS_SCRIPT, "--readme", "page.md", *args)
        assert result.returncode == status, result.stdout + result.stderr
        return result

    return results


def table_cells(text, preset):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{preset}`")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


@pytest.mark.soak
def test_row_shows_the_results_of_its_runs(workdir, run_results):
    page = run_results("mse_64_1_20", *QUICK_OVERRIDES).stdout
    accuracies = [100 * run.summary["test/accuracy"] for run in workdir.runs]
    assert len(accuracies) == 3
    mean = sum(accuracies) / 3
    deviation = (sum((each - mean) ** 2 for each in accuracies) / 2) ** 0.5
    assert table_cells(page, "mse_64_1_20")[4] == f"{mean:.2f} ± {deviation:.2f}"
    seconds = sorted(run.summary["seconds"] for run in workdir.runs)
    assert table_cells(page, "mse_64_1_20")[6] == f"{seconds[1]:.3g}"
    assert "mse_64_15_30" not in page
    assert (workdir.path / "page.md").read_text() == PAGE_TEMPLATE


@pytest.mark.soak
def test_finished_runs_are_reused_only_with_the_same_settings(workdir, run_results):
    page = run_results("mse_64_1_20", "--quick", *QUICK_OVERRIDES).stdout
    assert "(one seed)" in table_cells(page, "mse_64_1_20")[4]
    (folder,) = (workdir.path / "runs/results/mse_64_1_20").iterdir()
    moved = folder.rename(workdir.path / "runs/results/moved")
    config = (moved / "config.yaml").read_text()
    assert "split_seed: null\n" in config  # which runs of earlier versions lack
    (moved / "config.yaml").write_text(config.replace("split_seed: null\n", ""))
    result = run_results("mse_64_1_20", "--quick", "dataset=digits", "epochs=2", "tracking=offline")
    assert "train.py" not in result.stdout
    assert table_cells(result.stdout, "mse_64_1_20") == table_cells(page, "mse_64_1_20")
    result = run_results(
        "mse_64_1_20", "--quick", "dataset=digits", "epochs=3", "tracking=disabled"
    )
    assert "train.py" in result.stdout


@pytest.mark.soak
def test_caption_states_the_number_of_seeds(run_results):
    one = "Test accuracy of one seed, and the seconds of its training, one core of "
    caption = (
        "Test accuracy, mean and standard deviation of {} seeds, and the median of the seconds"
    )
    assert one in run_results("mse_64_1_20", "--quick", *QUICK_OVERRIDES).stdout
    assert caption.format(3) in run_results("mse_128_1_30", *QUICK_OVERRIDES).stdout
    page = run_results("mse_64_1_20", "mse_128_1_30", "--quick", *QUICK_OVERRIDES).stdout
    assert caption.format("1 to 3") in page


@pytest.mark.soak
def test_quick_skips_other_seeds_and_slow_presets(workdir, run_results):
    result = run_results("--quick", *QUICK_OVERRIDES)
    # on digits a preset for Fashion-MNIST may equal one for MNIST, whose run is then reused
    assert presets_run(result) == FAST_PRESETS - {"fashion_mlp_seconds"}
    assert "seed=1" not in result.stdout
    page = (workdir.path / "page.md").read_text()
    assert page.startswith("before\n<!-- results -->\n")
    assert page.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in page
    assert table_cells(page, "fashion_mlp_seconds")[4] == table_cells(page, "mnist_mlp_seconds")[4]
    assert table_cells(page, "mnist_cnn")[4] == "—"


@pytest.mark.soak
def test_slow_presets_can_be_trained(run_results):
    assert (
        presets_run(run_results("--quick", *SLOW_PRESETS, "dataset=digits", "epochs=1"))
        == SLOW_PRESETS
    )


def presets_run(result):
    return set(re.findall(r"experiment=(\S+) seed=0", result.stdout))


@pytest.mark.soak
def test_interrupted_run_is_resumed(workdir, run_results):
    args = "mse_64_1_20", "--quick", "dataset=digits", "epochs=60", "checkpoint_every=0"
    process = workdir.start(RESULTS_SCRIPT, "--readme", "page.md", *args)
    history = "runs/results/mse_64_1_20/*/history.jsonl"
    wait_until(lambda: any(path.read_text().count("\n") > 2 for path in workdir.path.glob(history)))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    result = run_results(*args)
    assert "train.py resume=runs/results/mse_64_1_20/0-" in result.stdout
    assert len(workdir.only_run.history) == 60
    assert workdir.only_run.summary["status"] == "finished"


@pytest.mark.soak
def test_foreign_run_is_skipped_with_a_message(workdir, run_results):
    runs = workdir.path / "runs"
    run(compose_config([*QUICK_OVERRIDES, "epochs=1"]), runs / "good")
    changes = {
        "no_dataset": ("config.yaml", {"dataset": None}),
        "no_score": ("summary.json", {"test/accuracy": None}),
        "odd_score": ("summary.json", {"test/accuracy": "high"}),
        "no_processor": ("environment.json", {"cpu_model": None}),
        "odd_packages": ("environment.json", {"packages": [1]}),
    }
    for name, (file_name, changed) in changes.items():
        shutil.copytree(runs / "good", runs / name)
        file = runs / name / file_name
        content = {**yaml.safe_load(file.read_text()), **changed}
        file.write_text(json.dumps(content))
    result = run_results("mse_64_1_20", "--quick", "--output", "runs", *QUICK_OVERRIDES)
    skipped = "is skipped: its settings or results are not as train.py writes them."
    assert result.stderr.splitlines() == [f"runs/{name} {skipped}" for name in sorted(changes)]
    assert "(one seed)" in table_cells(result.stdout, "mse_64_1_20")[4]


def test_option_of_an_earlier_version_is_refused_with_its_new_name(run_results):
    message = run_results("--root", "data", status=2).stderr
    assert message.endswith("argument --root: this option was renamed; use --data-root\n")


def test_every_compared_preset_is_in_its_sweep():
    sweep = yaml.safe_load((ROOT / "sweeps/claims.yaml").read_text())
    compared = {name for name in PRESETS if name.startswith(("mse", "entropy"))}
    assert set(sweep["parameters"]["experiment"]["values"]) == compared
    assert len(compared) == 9


def test_every_preset_has_its_row_in_the_readme():
    for preset in PRESETS - {"digits_best"}:
        assert "±" in table_cells(README, preset)[4], preset


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["imaginary"], "imaginary: there is no such preset; there is mnist_drawn_055,"),
        (["--readme", "absent.md"], "absent.md cannot be read: No such file or directory."),
        (["--readme", "bare.md"], "bare.md: <!-- results --> and"),
        (["lr=much"], "lr=much: lr must be a number above 0."),
    ],
)
def test_usage_errors_are_one_line_and_run_nothing(workdir, run_results, args, message):
    (workdir.path / "bare.md").write_text("bare")
    result = run_results(*args, status=2)
    assert result.stderr.startswith(message)
    assert not workdir.runs
    assert (workdir.path / "page.md").read_text() == PAGE_TEMPLATE
