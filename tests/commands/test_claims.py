"""The presets reach the published accuracies of other networks on the published datasets."""

from __future__ import annotations

import pytest

from tests.data.genuine import GENUINE, needs_genuine

CLAIMS = {
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


def reached(workplace, preset):
    dataset = "fashion_mnist" if preset.startswith("fashion") else "mnist"
    done = workplace.train(f"experiment={preset}", f"dataset.root={GENUINE / dataset}")
    assert done.returncode == 0, done.stderr
    return workplace.only_run


@needs_genuine
@pytest.mark.parametrize(
    ("preset", "least"), [("mnist_two_epochs", 0.9455), ("fashion_two_epochs", 0.85)]
)
def test_two_epochs_reach_what_is_claimed_of_them(workplace, preset, least):
    assert reached(workplace, preset).summary["test/accuracy"] >= least


@needs_genuine
@pytest.mark.soak
@pytest.mark.parametrize(("preset", "bounds"), CLAIMS.items())
def test_a_claim_is_reached(workplace, preset, bounds):
    least, most = bounds
    assert least <= reached(workplace, preset).summary["test/accuracy"] <= most


@needs_genuine
@pytest.mark.soak
def test_cross_entropy_learns_its_training_images_by_heart(workplace):
    assert reached(workplace, "entropy_64_15_40").history[-1]["train/accuracy"] >= 0.9999
