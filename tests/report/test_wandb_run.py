"""Runs that other programs have logged to W&B are read from their .wandb files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nn.errors import UserError
from nn.report.build import ReportOptions, build_report
from nn.report.data.wandb_run import WandbRunReader
from nn.report.pages.wandb_run import build_wandb_run_page
from nn.tracking import wandb_log, wandb_record
from tests.report.factories import XSS_STRING, make_run
from tests.report.report_page import ReportPage
from tests.waiting import wait_until

LOG_TWO_RUNS = """
import json, math, pathlib, sys
import numpy as np, wandb

xss, paths = sys.argv[1], {}
config = {"lr": 0.1, "model": {"hidden": [8, 4], "name": "mlp"}, "seed": None, "text": xss}
with wandb.init(project="other", name="first", mode="offline", config=config, tags=["a", "b"],
                notes="Some notes.") as run:
    run.define_metric("val/*", step_metric="epoch")
    for step in range(20):
        loss = math.nan if step == 5 else 1 / (step + 1)
        run.log({"train/loss": loss, "nested": {"value": 2 * step}, "phase": "warmup"})
    for epoch in range(1, 4):
        run.log({"epoch": 10 * epoch, "val/loss": 1.0 / epoch, "overflow": math.inf})
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    run.log({"samples": [wandb.Image(pixels + n, caption=f"{xss} {n}") for n in range(3)]})
    run.log({"single": wandb.Image(pixels), "table": wandb.Table(["x"], [[1]])})
    run.config.update({"added": 7})
    run.summary["best"] = {"loss": 0.05}
    paths["first"] = str(pathlib.Path(run.dir).parent)
with wandb.init(project="other", name="second", mode="offline") as run:
    run.log({"loss": 1.0})
    paths["second"] = str(pathlib.Path(run.dir).parent)
    run.finish(exit_code=3)
pathlib.Path("paths.json").write_text(json.dumps(paths))
"""


@pytest.fixture(scope="module")
def offline_runs(tmp_path_factory):
    """The directories of two offline runs by name, written by W&B's own client."""
    folder = tmp_path_factory.mktemp("other")
    environment = {key: value for key, value in os.environ.items() if "WANDB" not in key}
    environment |= {"HOME": str(folder), "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    command = [sys.executable, "-c", LOG_TWO_RUNS, XSS_STRING]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120)
    paths = json.loads((folder / "paths.json").read_text())
    return {name: Path(path) for name, path in paths.items()}


@pytest.fixture
def folder(offline_runs, tmp_path):
    """A copy of the first run's directory."""
    return shutil.copytree(offline_runs["first"], tmp_path / "offline-run-1")


def read_record(folder):
    return WandbRunReader(folder).record()


def get_metrics(record):
    """Return the metrics of a record by name."""
    return {metric["name"]: metric for metric in record["metrics"]}


def get_log(folder):
    (log,) = folder.glob("run-*.wandb")
    return log


def build_page(folder):
    build_report(ReportOptions([folder]))
    return ReportPage(folder / "report.html")


@pytest.fixture
def fake_log(tmp_path, monkeypatch):
    """Return a function that makes a run of records, which `cat` prints in wandb's place."""
    monkeypatch.setattr(wandb_log, "INSPECT_COMMAND", ("cat",))

    def make(records):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
        (folder / "run-x.wandb").write_text("".join(line + "\n" for line in lines))
        return folder

    return make


def history_record(step, **metrics):
    return {"type": "history", "history": {"step": {"num": step}, "item": metrics}}


def test_config_metrics_summary_and_images_are_read(folder):
    run = read_record(folder)
    assert (run["title"], run["project"], run["tags"], run["notes"]) == (
        "first",
        "other",
        ["a", "b"],
        "Some notes.",
    )
    assert run["status"] == "finished"
    assert run["started_at"] == pytest.approx(get_log(folder).stat().st_mtime, abs=60)
    assert run["config"] == {
        "added": 7,
        "lr": 0.1,
        "model.hidden": [8, 4],
        "model.name": "mlp",
        "seed": None,
        "text": XSS_STRING,
    }
    metrics = get_metrics(run)
    assert list(metrics) == ["nested.value", "train/loss", "val/loss"]
    loss, validation = metrics["train/loss"], metrics["val/loss"]
    assert (loss["x_metric"], loss["x"]) == ("_step", list(range(20)))
    assert loss["y"] == [None if step == 5 else 1 / (step + 1) for step in range(20)]
    assert (validation["x_metric"], validation["x"]) == ("epoch", [10, 20, 30])
    assert validation["y"] == [1.0, 1 / 2, 1 / 3]
    summary = run["summary"]
    assert (summary["best.loss"], summary["overflow"]) == (0.05, "Infinity")
    assert not [key for key in summary if key.startswith(("samples", "single", "_wandb"))]
    assert [(image["key"], image["caption"]) for image in run["images"]] == [
        *(("samples", f"{XSS_STRING} {n}") for n in range(3)),
        ("single", ""),
    ]
    assert all((folder / "files" / image["path"]).is_file() for image in run["images"])


def test_exit_status_of_a_failed_run(offline_runs):
    run = read_record(offline_runs["second"])
    assert (run["status"], run["exit_code"]) == ("failed", 3)


def test_page_shows_charts_images_summary_and_config(folder):
    charts = build_wandb_run_page(WandbRunReader(folder)).charts.values()
    assert all(chart.has_smoothing for chart in charts)
    page = build_page(folder)
    titles = re.findall('<span class="title">([^<]*)</span>', page.html)
    assert titles == ["nested.value", "train/loss", "val/loss"]
    assert page.sections == ["charts", "images", "summary", "config", "notes", "environment"]
    assert page.html.count('<img src="data:image/png;base64,') == 4
    for text in ("model.hidden [8,4]", "best.loss 0.05", "Some notes.", "samples, step"):
        assert text in page.text
    assert "<img src=x" not in page.html


def test_unchanged_run_is_read_from_the_cache(folder, monkeypatch):
    run = read_record(folder)
    monkeypatch.setattr(wandb_log, "INSPECT_COMMAND", ("false",))
    assert read_record(folder) == run
    os.utime(get_log(folder))
    with pytest.raises(UserError, match="cannot be read"):
        read_record(folder)


def test_damaged_cache_is_replaced(folder, tmp_path):
    run = read_record(folder)
    (entry,) = (tmp_path / "home/.cache/nn-sweeps/wandb-runs").glob("*.json")
    for content in (b"", b"{}", entry.read_bytes()[:-9], b"\xff"):
        entry.write_bytes(content)
        assert read_record(folder) == run


def test_cache_is_bounded(fake_log, tmp_path, monkeypatch):
    monkeypatch.setattr(wandb_record, "MAX_CACHE_BYTES", 2000)
    for number in range(8):
        folder = fake_log([history_record(0, loss=number)])
        read_record(folder.rename(tmp_path / f"run{number}"))
    entries = list((tmp_path / "home/.cache/nn-sweeps/wandb-runs").iterdir())
    assert sum(entry.stat().st_size for entry in entries) <= 2000
    assert entries


def test_run_without_a_writable_cache_is_read(fake_log, tmp_path, monkeypatch):
    (tmp_path / "home/.cache").write_text("")
    folder = fake_log([history_record(0, loss=1.0)])
    assert list(get_metrics(read_record(folder))) == ["loss"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_log_gives_the_part_that_can_be_read(folder, share):
    log = get_log(folder)
    os.truncate(log, int(share * log.stat().st_size))
    run = read_record(folder)
    assert (run["title"], run["status"]) == ("first", "running")
    os.utime(log, (0, time.time() - 3600))
    assert read_record(folder)["status"] == "crashed"
    assert "its log does not record an end" in build_page(folder).text


def test_log_with_a_header_only(folder):
    os.truncate(get_log(folder), 7)
    assert "No metrics have been logged." in build_page(folder).text


@pytest.mark.parametrize("content", [b"", b"text\n", b"{}\n", b"\0" * 40_000, os.urandom(5000)])
def test_other_file_with_the_name_of_a_log(folder, content):
    get_log(folder).write_bytes(content)
    build_page_or_user_error(folder)


def build_page_or_user_error(folder):
    try:
        build_page(folder)
    except UserError as error:
        assert "\n" not in str(error)


def test_overwritten_part_of_a_log(folder):
    log = get_log(folder)
    content = bytearray(log.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    log.write_bytes(content)
    build_page_or_user_error(folder)


def test_directory_must_have_one_log(folder):
    (folder / "run-other.wandb").write_bytes(b"")
    with pytest.raises(UserError, match=r"has 2 files named run-\*\.wandb, and must have one"):
        build_page(folder)


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_log_must_be_a_regular_file(folder, kind):
    log = get_log(folder)
    target = log.rename(folder.parent / "elsewhere.wandb")
    if kind == "link":
        log.symlink_to(target)
    elif kind == "directory":
        log.mkdir()
    else:
        os.mkfifo(log)
    with pytest.raises(UserError, match="must be a regular file"):
        build_page(folder)


def test_too_large_log_is_refused(folder, monkeypatch):
    monkeypatch.setattr(wandb_log, "MAX_LOG_BYTES", 1000)
    with pytest.raises(UserError, match="bytes; at most 1,000 are allowed"):
        build_page(folder)


def test_missing_wandb_is_reported(folder, monkeypatch):
    command = (sys.executable, "-P", "-m", "no_such_wandb")
    monkeypatch.setattr(wandb_log, "INSPECT_COMMAND", command)
    with pytest.raises(UserError, match=r"cannot be read: .*No module named no_such_wandb"):
        read_record(folder)
    monkeypatch.setattr(wandb_log, "INSPECT_COMMAND", (str(folder / "missing"),))
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        read_record(folder)


def test_client_that_hangs_is_killed_with_its_children(folder, monkeypatch, tmp_path):
    script = f"sleep 1000 & echo $! > {tmp_path}/pid; sleep 1000"
    monkeypatch.setattr(wandb_log, "INSPECT_COMMAND", ("sh", "-c", script))
    monkeypatch.setattr(wandb_log, "TIMEOUT_SECONDS", 1)
    with pytest.raises(UserError, match="cannot be read within 1 seconds"):
        read_record(folder)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_running(pid), 60)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_client_runs_no_module_of_the_current_directory(folder, tmp_path, monkeypatch):
    (tmp_path / "wandb.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert read_record(folder)["title"] == "first"


def test_reading_writes_only_to_the_cache(folder, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(folder.rglob("*"))
    read_record(folder)
    assert sorted(folder.rglob("*")) == before
    assert not list((tmp_path / "here").iterdir())


def test_long_history_is_downsampled_and_keeps_its_peaks(fake_log):
    records = (
        history_record(step, loss=step % 7, peak=float(step == 7777)) for step in range(20_000)
    )
    run = read_record(fake_log(records))
    assert run["num_records"] == 20_000
    for metric in run["metrics"]:
        assert len(metric["x"]) <= wandb_record.MAX_POINTS
        assert metric["x"] == sorted(metric["x"])
        assert (metric["x"][0], metric["x"][-1]) == (0, 19_999)
    loss, peak = run["metrics"]
    assert peak["y"][peak["x"].index(7777)] == 1.0
    assert max(after - before for before, after in pairwise(loss["x"])) < 400


def test_number_of_metrics_settings_and_images_is_limited(fake_log, monkeypatch):
    for name in ("MAX_METRICS", "MAX_SETTINGS", "MAX_IMAGES"):
        monkeypatch.setattr(wandb_record, name, 5)
    names = [f"media/images/{n}.png" for n in range(9)]
    images = {"x._type": "images/separated", "x.filenames": names}
    run = read_record(
        fake_log(
            [
                history_record(0, **{f"m{n}": n for n in range(9)}),
                {"type": "config", "config": {"update": {f"k{n}": n for n in range(9)}}},
                {"type": "config", "config": {"update": {"k0": "x" * 5000}}},
                history_record(1, **images),
            ]
        )
    )
    assert list(get_metrics(run)) == ["m0", "m1", "m2", "m3", "m4"]
    assert list(run["config"]) == ["k0", "k1", "k2", "k3", "k4"]
    assert len(run["config"]["k0"]) == wandb_record.MAX_VALUE_LENGTH
    assert [image["path"] for image in run["images"]] == names[4:]
    assert run["is_incomplete"]


def test_removed_settings_are_removed(fake_log):
    run = read_record(
        fake_log(
            [
                {"type": "run", "run": {"config": {"update": {"a": 1, "b": {"c": 2, "d": 3}}}}},
                {
                    "type": "config",
                    "config": {"remove": [{"key": "a"}, {"nested_key": ["b", "c"]}]},
                },
            ]
        )
    )
    assert run["config"] == {"b.d": 3}


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../../secret.png", "media/../../../secret.png", "media/link.png",
        "media/linked/secret.png", "media/missing.png", "media/fifo", "media", "media/\0.png",
        "media/bomb.png", "media/text.png",
    ],
)  # fmt: skip
def test_images_outside_the_media_directory_are_not_read(fake_log, tmp_path, path):
    from PIL import Image

    records = [history_record(0, **{"x._type": "image-file", "x.path": path})]
    folder = fake_log(records)
    media = folder / "files/media"
    media.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for secret in (tmp_path / "outside/secret.png", tmp_path / "secret.png"):
        Image.new("L", (4, 4)).save(secret)
    (media / "link.png").symlink_to(tmp_path / "secret.png")
    (media / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(media / "fifo")
    Image.new("1", (20_000, 20_000)).save(media / "bomb.png")
    (media / "text.png").write_text("text")
    shown = [
        image for group in WandbRunReader(folder).details()["images"] for image in group["images"]
    ]
    assert all(source is None for _, source in shown)
    build_page(folder)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.sampled_from(["NaN", "image-file", "images/separated", "media/x.png", XSS_STRING])
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ("update", "remove", "item", "step", "num", "key", "a", "a._type", "a.path")
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)
record_types = ("run", "config", "summary", "environment", "history", "metric", "exit", "stats")
hostile_records = st.sampled_from(record_types).flatmap(
    lambda name: st.fixed_dictionaries({"type": st.just(name), name: json_values})
)
history_records = st.builds(
    lambda step, items: {"type": "history", "history": {"step": {"num": step}, "item": items}},
    st.integers(-5, 10**20),
    st.dictionaries(st.text(max_size=4) | st.sampled_from(["a._type", "a.path"]), json_values),
)


@settings(
    max_examples=60,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(records=st.lists(hostile_records | history_records | json_values, max_size=8))
def test_arbitrary_records_give_a_page(fake_log, records, monkeypatch):
    monkeypatch.setattr("nn.report.page.read_asset", lambda name: "")
    page = build_page(fake_log(records))
    assert "<img src=x" not in page.html


def test_deep_nesting_and_long_lines_count_as_damage(fake_log, monkeypatch):
    monkeypatch.setattr(wandb_log, "MAX_LINE_BYTES", 10_000)
    for line in (
        nested_config(5000),
        "{" * 3000,
        '{"type": "summary", "x": "' + "y" * 30_000 + '"}',
        '{"a": 1',
    ):
        run = read_record(fake_log([history_record(0, loss=1.0), line]))
        assert list(get_metrics(run)) == ["loss"]
        assert run["is_damaged"]
    for depth in (50, 300, 700, 900):
        build_page(fake_log([nested_config(depth), nested_config(depth, "[", "]")]))


def nested_config(depth, opening='{"a":', closing="}"):
    value = opening * depth + "1" + closing * depth
    return '{"type": "config", "config": {"update": {"x": ' + value + "}}}"


def test_index_lists_wandb_runs(offline_runs, tmp_path):
    shutil.copytree(offline_runs["first"].parent, tmp_path / "all/wandb", symlinks=True)
    make_run(tmp_path / "all/own", "epochs=1")
    broken = tmp_path / "all/wandb/offline-run-broken"
    broken.mkdir()
    (broken / "run-broken.wandb").symlink_to(tmp_path)
    page = build_page(tmp_path / "all")
    assert "1 run and 2 W&B runs." in page.text
    assert "run-broken.wandb must be a regular file." in page.text
    for cell in ('"first"', '"second"', '"failed"', '"W\\u0026B run"'):
        assert cell in page.html
