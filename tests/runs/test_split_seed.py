"""`split_seed` fixes the samples whatever the seed, and null leaves every run as it was."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import yaml

from nn.config.compose import compose_config
from nn.runs import checkpoint
from nn.runs.experiment import prepare
from nn.runs.reader import SavedRun
from nn.runs.resume import resume_run
from nn.runs.runner import run
from nn.runs.training_state import Snapshot
from nn.runs.trusted_config import read_trusted_config
from tests.conftest import RunDir

OVERRIDES = ["tracking=disabled", "model.hidden=[4]", "dropout=0.1", "epochs=2"]


def prepare_run(*overrides):
    return prepare(compose_config([*OVERRIDES, *overrides]))


def train(run_dir, *overrides):
    run(compose_config([*OVERRIDES, *overrides]), run_dir, verbose=False)
    return RunDir(run_dir)


def image_digests(dataset):
    return [
        hashlib.sha256(samples.raw.tobytes()).hexdigest()[:16]
        for samples in (dataset.train, dataset.val, dataset.test)
    ]


@pytest.mark.parametrize("limit", [[], ["dataset.max_samples=300"]])
def test_seeds_with_the_same_split_seed_share_the_samples_and_nothing_else(limit):
    first, second = (prepare_run("split_seed=7", seed, *limit) for seed in ("seed=1", "seed=2"))
    assert first.dataset is second.dataset  # loaded once
    assert first.network.digest() != second.network.digest()
    labels_of_first_batch = [next(iter(each.batches))[1] for each in (first, second)]
    assert not np.array_equal(*labels_of_first_batch)
    assert image_digests(first.dataset) == image_digests(prepare_run("seed=7", *limit).dataset)


def test_split_seeds_with_the_same_seed_share_all_but_the_samples():
    first, second = (prepare_run("seed=1", f"split_seed={number}") for number in (7, 8))
    assert first.network.digest() == second.network.digest()
    assert not set(image_digests(first.dataset)) & set(image_digests(second.dataset))


@pytest.mark.parametrize(
    ("overrides", "digests"),
    [
        ([], ["acaed1a5e2767198", "3615e7cecaf834e5", "b227b2dae8eb8207"]),
        (["seed=3"], ["d7a82f0c2faa4c2c", "5008b9caa98cdf17", "93abb00f58e86452"]),
        (
            ["dataset.max_samples=300"],
            ["48b6879e3bc033d1", "0118e95a9fea589f", "90efc36d2047e645"],
        ),
    ],
)
def test_without_split_seed_the_samples_are_those_of_earlier_versions(overrides, digests):
    """Recorded before there was a split_seed."""
    assert image_digests(prepare_run(*overrides).dataset) == digests


def test_split_seed_equal_to_the_seed_gives_the_bits_of_null(tmp_path):
    runs = [
        train(tmp_path / value, "seed=3", f"split_seed={value}") for value in ("null", "3", "4")
    ]
    assert runs[0].exact_results == runs[1].exact_results != runs[2].exact_results


def test_resumed_run_keeps_its_split(tmp_path):
    expected = train(tmp_path / "uninterrupted", "split_seed=5", "epochs=4")
    resumed = train(tmp_path / "resumed", "split_seed=5")
    assert resume_run(resumed.path, read_trusted_config(resumed.path), "4") == 0
    assert resumed.exact_results == expected.exact_results


def test_run_of_a_version_without_split_seed_is_read_and_resumed(tmp_path):
    expected = train(tmp_path / "uninterrupted", "epochs=4")
    old = train(tmp_path / "old")
    config_file, checkpoint_file = old.path / "config.yaml", "checkpoints/last.safetensors"
    settings = yaml.safe_load(config_file.read_text())
    del settings["split_seed"]
    config_file.write_text(yaml.safe_dump(settings, sort_keys=False))
    snapshot = checkpoint.load(old.path / checkpoint_file)
    metadata = snapshot.metadata | {"config": settings}
    checkpoint.save(old.path / checkpoint_file, Snapshot(snapshot.arrays, metadata))
    assert SavedRun(old.path).config == SavedRun(expected.path).config | {"epochs": 2}
    assert resume_run(old.path, read_trusted_config(old.path), "4") == 0
    assert old.exact_results == expected.exact_results
