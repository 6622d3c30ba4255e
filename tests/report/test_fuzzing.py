"""A directory may come from anyone: any content gives a page or one sentence."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nn.errors import UserError
from nn.report.build import ReportOptions, build_report
from nn.runs import checkpoint
from nn.runs.training_state import Snapshot
from tests.report.data.hostile import json_values
from tests.report.factories import make_run, make_sweep

RECORD_KEYS = (
    "epoch", "train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr", "norm/gradient",
    "norm/weights", "seconds", "seconds/validation", "status", "test/accuracy", "test/loss",
    "best/epoch", "epochs", "num_parameters", "confusion_matrix", "class_names", "precision",
    "recall", "f1", "val/confusion_matrix", "weights/sha256", "packages", "git", "command",
    "cpu_count",
)  # fmt: skip
square_matrices = st.integers(1, 5).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, 50), min_size=size, max_size=size), min_size=size, max_size=size
    )
)
records = st.dictionaries(st.sampled_from(RECORD_KEYS), json_values | square_matrices, max_size=12)
arrays = st.builds(
    lambda shape, kind, seed: np.random.default_rng(seed).integers(0, 4, shape).astype(kind),
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from(["u1", "i8", "f4", "f8", "?"]),
    st.integers(0, 99),
)
array_names = (
    "labels",
    "probabilities",
    "embedded_indices",
    "embeddings",
    "image_indices",
    "images",
)
fuzz_settings = settings(
    max_examples=15,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("any") / "run", "dataset.max_samples=150")


@pytest.fixture(scope="module")
def sweep_dir(tmp_path_factory):
    return make_sweep(tmp_path_factory.mktemp("any") / "s", 5)


@pytest.fixture(autouse=True)
def skip_slow_parts(monkeypatch):
    """Skip the slow parts that are the same on every page."""
    monkeypatch.setattr("nn.report.page.read_asset", lambda _: "")
    monkeypatch.setattr("os.fsync", lambda _: None)


def build_page_or_user_error(*folders):
    output = folders[0].parent / "page.html"
    try:
        build_report(ReportOptions(folders, output))
    except UserError as error:
        assert "\n" not in str(error)


@fuzz_settings
@given(data=st.data())
def test_run_with_arbitrary_content(run, data, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run", dirs_exist_ok=True)
    for name in ("summary.json", "environment.json"):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | data.draw(records)))
    lines = data.draw(st.lists(records, max_size=4))
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    changed = config | data.draw(
        st.dictionaries(st.sampled_from(sorted(config)), json_values, max_size=4)
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(changed))
    if data.draw(st.booleans()):
        arrays_saved = checkpoint.load(run / "predictions.safetensors").arrays
        other = data.draw(st.dictionaries(st.sampled_from(array_names), arrays, max_size=3))
        checkpoint.save(folder / "predictions.safetensors", Snapshot({**arrays_saved, **other}, {}))
    build_page_or_user_error(folder)
    build_page_or_user_error(folder, run)
    build_page_or_user_error(tmp_path)


@fuzz_settings
@given(
    name=st.sampled_from(["config.yaml", "summary.json", "history.jsonl", "predictions.safetensors",
                        "environment.json", "checkpoints/last.safetensors"]),
       share=st.floats(0, 1), tail=st.binary(max_size=8))  # fmt: skip
def test_run_with_a_truncated_or_overwritten_file(run, name, share, tail, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run", dirs_exist_ok=True)
    original = (folder / name).read_bytes()
    (folder / name).write_bytes(original[: int(share * len(original))] + tail)
    build_page_or_user_error(folder)


@fuzz_settings
@given(
    name=st.sampled_from(["study.log", "sweep.yaml", "settings.json", "trials/0002/history.jsonl",
                        "trials/0003/summary.json"]),
       share=st.floats(0, 1), tail=st.binary(max_size=8))  # fmt: skip
def test_sweep_with_a_truncated_or_overwritten_file(sweep_dir, name, share, tail, tmp_path):
    folder = shutil.copytree(sweep_dir, tmp_path / "s", dirs_exist_ok=True)
    original = (folder / name).read_bytes()
    (folder / name).write_bytes(original[: int(share * len(original))] + tail)
    build_page_or_user_error(folder)
