"""What is logged to Weights & Biases, read back from an offline run by its own client."""

from __future__ import annotations

import json

import pytest

from tests.commands.wandb_file import of_type, wandb_records


@pytest.fixture
def tracked(workplace):
    """Return a function that trains offline and returns the run and its W&B records."""

    def start(*words, **environment):
        done = workplace.train(*words, tracking=None, **environment)
        assert done.returncode == 0, done.stderr
        (folder,) = workplace.only_run.path.glob("wandb/offline-run-*")
        return done, workplace.only_run, wandb_records(workplace, folder)

    return start


def test_history_config_and_summary_are_mirrored(tracked):
    done, run, records = tracked("epochs=3", "optimizer.momentum=0.5")
    assert "W&B: offline; to upload the run: wandb sync runs/" in done.stdout

    rows = [item["item"] for item in of_type(records, "history")]
    mirrored = [row for row in rows if "train/loss" in row]
    for row, line in zip(mirrored, run.history, strict=True):
        assert row["_step"] == line["epoch"]
        assert {key: row[key] for key in line} == pytest.approx(line)

    config = of_type(records, "run")[0]["config"]["update"]
    assert config["lr"] == 0.055
    assert config["optimizer"] == "sgd"
    assert config["dataset"] == "digits"
    assert config["experiment"] is None
    assert config["settings"]["optimizer"]["momentum"] == 0.5
    assert not [key for key in config if "." in key]

    summary = {}
    for item in of_type(records, "summary"):
        summary |= item["update"]
    for key in ("status", "test/accuracy", "test/loss", "weights/sha256", "best/epoch"):
        assert summary[key] == run.summary[key]

    metrics = of_type(records, "metric")
    assert {"glob_name": "*", "options": {"defined": True, "step_sync": True}} | {
        "step_metric": "epoch"
    } in metrics
    assert of_type(records, "exit")[0].get("exit_code", 0) == 0


def test_the_confusion_matrix_is_mirrored_as_a_chart_with_its_counts(tracked):
    _, run, _ = tracked("epochs=1")
    (table,) = run.path.rglob("confusion_matrix_table*.table.json")
    cells = json.loads(table.read_text())
    assert cells["columns"] == ["Actual", "Predicted", "nPredictions"]
    counts = run.summary["confusion_matrix"]
    assert cells["data"] == [[str(i), str(j), counts[i][j]] for i in range(10) for j in range(10)]


def test_all_of_wandbs_folders_stay_inside_the_run(tracked, workplace, tmp_path):
    _, run, _ = tracked("epochs=1")
    assert [path.name for path in workplace.path.iterdir()] == ["runs"]
    assert list((tmp_path / "home").rglob("*wandb*")) == []
    assert {path.name for path in run.path.iterdir()} == {
        ".lock",
        "checkpoints",
        "config.yaml",
        "environment.json",
        "history.jsonl",
        "model.json",
        "predictions.safetensors",
        "summary.json",
        "wandb",
    }


def test_disabled_tracking_leaves_no_trace(workplace):
    done = workplace.train("epochs=1", tracking="disabled")
    assert "W&B" not in done.stdout + done.stderr
    assert not (workplace.only_run.path / "wandb").exists()


def test_credentials_make_auto_mean_online():
    from nn.tracking.settings import Tracking

    assert Tracking().resolved_mode == "offline"


@pytest.mark.parametrize(
    ("name", "value"),
    [("WANDB_API_KEY", "x" * 40), ("WANDB_SWEEP_ID", "abc"), ("WANDB_MODE", "online")],
)
def test_auto_goes_online_where_w_and_b_can_be_reached(monkeypatch, name, value):
    from nn.tracking.settings import Tracking

    monkeypatch.setenv(name, value)
    assert Tracking().resolved_mode == "online"


def test_auto_finds_the_key_that_wandb_login_left(tmp_path, monkeypatch):
    from nn.tracking.settings import Tracking

    file = tmp_path / "netrc"
    file.write_text("machine api.wandb.ai\n  login user\n  password " + "x" * 40 + "\n")
    monkeypatch.setenv("NETRC", str(file))
    assert Tracking().resolved_mode == "online"


def test_variables_that_are_empty_are_not_set(workplace):
    names = ["MODE", "TAGS", "RUN_ID", "SILENT", "RESUME", "INIT_TIMEOUT", "BASE_URL", "SWEEP_ID"]
    empty = {f"WANDB_{name}": "" for name in (*names, "PROJECT")}
    done = workplace.train("epochs=1", tracking=None, **empty)
    assert (done.returncode, done.stderr) == (0, "")
    assert "W&B: offline; to upload the run: wandb sync" in done.stdout


def test_a_variable_that_wandb_refuses_is_named(workplace):
    done = workplace.train("epochs=1", tracking="offline", WANDB_SILENT="perhaps")
    assert done.returncode == 0
    assert done.stderr.startswith("W&B failed (silent: Input should be a valid boolean")
    assert done.stderr.count("\n") == 1


def test_a_server_that_cannot_be_reached_costs_one_warning(workplace):
    done = workplace.train(
        "epochs=1",
        tracking="online",
        WANDB_API_KEY="x" * 40,
        WANDB_BASE_URL="http://127.0.0.1:9",
        WANDB_INIT_TIMEOUT="2",
    )
    assert done.returncode == 0, done.stderr
    assert workplace.only_run.summary["status"] == "finished"
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("the run directory has everything, and the run stays offline.\n")
    assert "W&B: offline; to upload the run: wandb sync" in done.stdout
    assert list(workplace.only_run.path.glob("wandb/offline-run-*/*.wandb"))
