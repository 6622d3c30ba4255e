"""What is logged to Weights & Biases, read back from an offline run by its own client."""

from __future__ import annotations

import json

import pytest

from tests.integration.wandb_records import read_wandb_records, records_of_type


@pytest.fixture
def train_offline(workdir):
    """Return a function that trains offline and returns the run and its W&B records."""

    def start(*args, **environment):
        result = workdir.train(*args, tracking=None, **environment)
        assert result.returncode == 0, result.stderr
        (folder,) = workdir.only_run.path.glob("wandb/offline-run-*")
        return result, workdir.only_run, read_wandb_records(workdir, folder)

    return start


def test_history_config_and_summary_are_logged_to_wandb(train_offline):
    result, run, records = train_offline("epochs=3", "optimizer.momentum=0.5")
    assert "W&B: offline; to upload the run: wandb sync runs/" in result.stdout

    rows = [item["item"] for item in records_of_type(records, "history")]
    mirrored = [row for row in rows if "train/loss" in row]
    for row, line in zip(mirrored, run.history, strict=True):
        assert row["_step"] == line["epoch"]
        assert {key: row[key] for key in line} == pytest.approx(line)

    config = records_of_type(records, "run")[0]["config"]["update"]
    assert config["lr"] == 0.055
    assert config["optimizer"] == "sgd"
    assert config["dataset"] == "digits"
    assert config["experiment"] is None
    assert config["settings"]["optimizer"]["momentum"] == 0.5
    assert not [key for key in config if "." in key]

    summary = {}
    for item in records_of_type(records, "summary"):
        summary |= item["update"]
    for key in ("status", "test/accuracy", "test/loss", "weights/sha256", "best/epoch"):
        assert summary[key] == run.summary[key]

    metrics = records_of_type(records, "metric")
    assert {"glob_name": "*", "options": {"defined": True, "step_sync": True}} | {
        "step_metric": "epoch"
    } in metrics
    assert records_of_type(records, "exit")[0].get("exit_code", 0) == 0


def test_confusion_matrix_is_logged_with_its_counts(train_offline):
    _, run, _ = train_offline("epochs=1")
    (table,) = run.path.rglob("confusion_matrix_table*.table.json")
    cells = json.loads(table.read_text())
    assert cells["columns"] == ["Actual", "Predicted", "nPredictions"]
    counts = run.summary["confusion_matrix"]
    assert cells["data"] == [[str(i), str(j), counts[i][j]] for i in range(10) for j in range(10)]


def test_wandb_directories_stay_inside_the_run_directory(train_offline, workdir, tmp_path):
    _, run, _ = train_offline("epochs=1")
    assert [path.name for path in workdir.path.iterdir()] == ["runs"]
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


def test_disabled_tracking_leaves_no_trace(workdir):
    result = workdir.train("epochs=1", tracking="disabled")
    assert "W&B" not in result.stdout + result.stderr
    assert not (workdir.only_run.path / "wandb").exists()


def test_auto_is_offline_without_credentials():
    from nn.tracking.settings import Tracking

    assert Tracking().resolved_mode == "offline"


@pytest.mark.parametrize(
    ("name", "value"),
    [("WANDB_API_KEY", "x" * 40), ("WANDB_SWEEP_ID", "abc"), ("WANDB_MODE", "online")],
)
def test_auto_is_online_with_credentials_or_agent(monkeypatch, name, value):
    from nn.tracking.settings import Tracking

    monkeypatch.setenv(name, value)
    assert Tracking().resolved_mode == "online"


def test_auto_finds_the_netrc_key(tmp_path, monkeypatch):
    from nn.tracking.settings import Tracking

    file = tmp_path / "netrc"
    file.write_text("machine api.wandb.ai\n  login user\n  password " + "x" * 40 + "\n")
    monkeypatch.setenv("NETRC", str(file))
    assert Tracking().resolved_mode == "online"


def test_empty_environment_variables_are_ignored(workdir):
    names = ["MODE", "TAGS", "RUN_ID", "SILENT", "RESUME", "INIT_TIMEOUT", "BASE_URL", "SWEEP_ID"]
    empty = {f"WANDB_{name}": "" for name in (*names, "PROJECT")}
    result = workdir.train("epochs=1", tracking=None, **empty)
    assert (result.returncode, result.stderr) == (0, "")
    assert "W&B: offline; to upload the run: wandb sync" in result.stdout


def test_invalid_environment_variable_is_named(workdir):
    result = workdir.train("epochs=1", tracking="offline", WANDB_SILENT="perhaps")
    assert result.returncode == 0
    assert result.stderr.startswith("W&B failed (silent: Input should be a valid boolean")
    assert result.stderr.count("\n") == 1


def test_unreachable_server_gives_one_warning(workdir):
    result = workdir.train(
        "epochs=1",
        tracking="online",
        WANDB_API_KEY="x" * 40,
        WANDB_BASE_URL="http://127.0.0.1:9",
        WANDB_INIT_TIMEOUT="2",
    )
    assert result.returncode == 0, result.stderr
    assert workdir.only_run.summary["status"] == "finished"
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("the run directory has everything, and the run stays offline.\n")
    assert "W&B: offline; to upload the run: wandb sync" in result.stdout
    assert list(workdir.only_run.path.glob("wandb/offline-run-*/*.wandb"))
