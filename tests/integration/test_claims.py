"""The presets reach the published accuracies of other networks on the published datasets."""

from __future__ import annotations

import pytest

from tests.data.real_data import REAL_DATA, requires_real_data

CLAIMED_ACCURACIES = {
    "mnist_drawn_055": (0.8667, 0.8867),  # 0.8767 within a point
    "mnist_drawn_55": (0.93, 1),
    "plain_full_batch": (0.89, 1),
    "plain_mini_batch": (0.97, 1),
    "descent_full_batch": (0.90, 1),
    "descent_mini_batch": (0.97, 1),
    "mse_64_1_20": (0.95, 1),
    "mse_64_15_30": (0.95, 1),
    "mse_128_1_30": (0.95, 1),
    "mse_128_15_40": (0.95, 1),
    "entropy_64_01_40": (0.95, 1),
    "entropy_64_1_10": (0.95, 1),
    "entropy_64_15_40": (0.974, 1),
    "entropy_128_1_30": (0.95, 1),
    "entropy_128_15_20": (0.95, 1),
    "mnist_mlp_seconds": (0.98, 1),
    "fashion_mlp_seconds": (0.89, 1),
}


def train_preset(workdir, preset):
    dataset = "fashion_mnist" if preset.startswith("fashion") else "mnist"
    result = workdir.train(f"experiment={preset}", f"dataset.root={REAL_DATA / dataset}")
    assert result.returncode == 0, result.stderr
    return workdir.only_run


@pytest.mark.sampled(1)
@requires_real_data
@pytest.mark.parametrize(
    ("preset", "min_accuracy"), [("mnist_two_epochs", 0.9455), ("fashion_two_epochs", 0.85)]
)
def test_two_epoch_presets_reach_their_claimed_accuracy(workdir, preset, min_accuracy):
    assert train_preset(workdir, preset).summary["test/accuracy"] >= min_accuracy


@requires_real_data
@pytest.mark.soak
@pytest.mark.parametrize(("preset", "bounds"), CLAIMED_ACCURACIES.items())
def test_preset_reaches_its_claimed_accuracy(workdir, preset, bounds):
    min_accuracy, max_accuracy = bounds
    assert min_accuracy <= train_preset(workdir, preset).summary["test/accuracy"] <= max_accuracy


@requires_real_data
@pytest.mark.soak
def test_cross_entropy_fits_its_training_images(workdir):
    assert train_preset(workdir, "entropy_64_15_40").history[-1]["train/accuracy"] >= 0.9999
