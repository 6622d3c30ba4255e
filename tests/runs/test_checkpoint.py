"""Whatever happens to the files of a run, it resumes from a saved state or is refused."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from nn.batches import NO_RESCALING, Samples
from nn.config.schema import Config
from nn.data.input_spec import InputSpec
from nn.data.source import Dataset
from nn.early_stopping import WeightSelector
from nn.errors import UserError
from nn.layers import BatchNorm, Dense, ReLU
from nn.losses import SoftmaxCrossEntropy
from nn.network import Network
from nn.optimizers import Adam
from nn.randomness import RandomGenerators
from nn.runs import checkpoint
from nn.runs.history import HistoryWriter
from nn.runs.run_directory import RunDirectory
from nn.runs.training_state import Snapshot, TrainingState
from nn.schedules import ReduceOnPlateau
from tests.conftest import repeat
from tests.faulty_disk import raise_disk_full
from tests.runs.factories import make_epoch_result

CONFIG = Config.model_construct(checkpoint_every=0.0, lr=0.1, epochs=9, restore_best=True)
SAMPLES = Samples(np.zeros((3, 5), np.float32), np.arange(3))
INPUT_SPEC = InputSpec.from_samples(SAMPLES.raw, 1, NO_RESCALING, ("a", "b", "c"))
DATASET = Dataset(SAMPLES, None, None, INPUT_SPEC, "digest")


def make_training_state(units=7, seed=0):
    """Return the state of a small training run that uses every component with state."""
    randomness = RandomGenerators.from_seed(seed)
    layers = [Dense(units), BatchNorm(), ReLU(), Dense(3)]
    network = Network(layers, (5,), randomness.init)
    optimizer = Adam()
    optimizer.init_state(network.parameters.values)
    return network, TrainingState(
        network, optimizer, ReduceOnPlateau(), WeightSelector(network, True, None), randomness
    )


def train_one_epoch(network, state, number, run_directory):
    """Change every part of the state, as an epoch does."""
    x = state.rngs.shuffle.random((8, 5), dtype=np.float32)
    loss = SoftmaxCrossEntropy()
    loss.build(3, np.dtype(np.float32))
    network.backward(loss.gradient(network.forward(x, training=True), np.arange(8) % 3))
    state.optimizer.step(network.parameters.values, network.parameters.gradients, 0.1)
    state.schedule.update(1 / number)
    result = make_epoch_result(number)
    state.weight_selector.update(result)
    run_directory.append_history(result.to_history_record())
    state.take_snapshot(number, float(number), run_directory.history.fingerprint)


@pytest.fixture
def run(tmp_path):
    """A run of five epochs with checkpoints at the third and the fifth."""
    path = tmp_path / "run"
    network, state = make_training_state()
    snapshots = {}
    with RunDirectory.create(path, CONFIG, {"run_id": "abc"}) as run_directory:
        for number in range(1, 6):
            train_one_epoch(network, state, number, run_directory)
            if number in (3, 5):
                run_directory.save_checkpoint(state, DATASET)
                snapshots[number] = state_bytes(state)
    return path, snapshots


def state_bytes(state):
    arrays = {name: array.tobytes() for name, array in state.snapshot.arrays.items()}
    return arrays, json.dumps(state.snapshot.metadata)


def test_missing_best_checkpoint_is_an_error(run):
    path, _ = run
    assert checkpoint.load_best_or_last(path).metadata["epoch"] < 6
    (path / "checkpoints/best.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"best.safetensors, which holds the best weights, is missing."
    ):
        checkpoint.load_best_or_last(path)


def resume_run(path):
    """Resume a run and return the epoch, the state and the history that was kept."""
    _, state = make_training_state()
    with RunDirectory.resume(path, CONFIG, state, "digest"):
        pass
    return state.epoch, state_bytes(state), (path / "history.jsonl").read_bytes()


def check_restored_state(path, snapshots, history):
    """Check that the state is that of the third or fifth epoch, or the initial one."""
    epoch, state, history_left = resume_run(path)
    assert epoch in (0, 3, 5)
    if epoch:
        assert state == snapshots[epoch]
    else:
        assert state == state_bytes(make_training_state()[1])
    assert history_left == b"".join(history.splitlines(keepends=True)[:epoch])
    return epoch


def test_saved_state_is_restored(run):
    path, moments = run
    assert check_restored_state(path, moments, (path / "history.jsonl").read_bytes()) == 5


def test_every_truncated_checkpoint_is_detected(run, capsys):
    path, moments = run
    history = (path / "history.jsonl").read_bytes()
    last = path / "checkpoints/last.safetensors"
    original = last.read_bytes()
    for length in range(len(original)):
        last.write_bytes(original[:length])
        with pytest.raises(checkpoint.CorruptFileError):
            checkpoint.load(last)
    last.write_bytes(original[: len(original) // 2])
    assert check_restored_state(path, moments, history) == 3
    assert "The last checkpoint is damaged and was skipped." in capsys.readouterr().err


def test_truncated_history_restores_the_newest_consistent_state(run, capsys):
    path, moments = run
    history = (path / "history.jsonl").read_bytes()
    third, fifth = (sum(map(len, history.splitlines(True)[:lines])) for lines in (3, 5))
    for length in range(len(history)):
        (path / "history.jsonl").write_bytes(history[:length])
        expected = 5 if length >= fifth else 3 if length >= third else 0
        assert check_restored_state(path, moments, history) == expected
        stderr = capsys.readouterr().err
        assert ("is incomplete" in stderr) == (not history[:length].endswith(b"\n") and length > 0)


@repeat(40, 1000)
def test_random_corruptions_are_never_accepted(run, repetition):
    path, moments = run
    rng = random.Random(repetition)
    history = (path / "history.jsonl").read_bytes()
    names = ["history.jsonl", "checkpoints/last.safetensors", "checkpoints/previous.safetensors"]
    for name in rng.sample(names, rng.randint(1, 3)):
        content = bytearray((path / name).read_bytes())
        for _ in range(rng.choice([1, 1, 1, 10, 1000])):
            offset = rng.randrange(min(len(content), rng.choice([8, 400, 10**9])))
            content[offset] ^= 1 << rng.randrange(8)
        (path / name).write_bytes(content)
    check_restored_state(path, moments, history)


def test_header_claiming_terabytes_is_refused(run):
    path, moments = run
    last = path / "checkpoints/last.safetensors"
    history = (path / "history.jsonl").read_bytes()
    huge = {"weights": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}
    for content in (
        (2**62).to_bytes(8, "little"),
        len(json.dumps(huge)).to_bytes(8, "little") + json.dumps(huge).encode(),
        (5).to_bytes(8, "little") + b"[[[[[",
    ):
        last.write_bytes(content)
        assert check_restored_state(path, moments, history) == 3


def test_unknown_format_version_is_refused(run, monkeypatch):
    path, _ = run
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 3)
    with pytest.raises(UserError, match="has format version 2, but this program reads version 3"):
        resume_run(path)


def test_mismatched_model_is_refused_by_name_and_shape(run):
    path, _ = run
    _, state = make_training_state(units=8)
    with (
        pytest.raises(UserError, match=r"dense1.weight is .* \(5, 7\), .* \(5, 8\)"),
        RunDirectory.resume(path, CONFIG, state, "digest"),
    ):
        pass


def test_mismatched_dataset_or_config_is_refused(run):
    path, _ = run
    _, state = make_training_state()
    with (
        pytest.raises(UserError, match="the dataset is not the one"),
        RunDirectory.resume(path, CONFIG, state, "another"),
    ):
        pass
    with (
        pytest.raises(UserError, match=r"lr in config\.yaml differs from that of the last check"),
        RunDirectory.resume(path, CONFIG.model_copy(update={"lr": 0.2}), state, "digest"),
    ):
        pass


def test_invalid_metadata_is_refused(run):
    path, _ = run
    last = path / "checkpoints/last.safetensors"
    snapshot = checkpoint.load(last)
    for name, value in (("weight_selector", 1), ("rngs", {}), ("schedule", "no"), ("epoch", None)):
        checkpoint.save(last, Snapshot(snapshot.arrays, {**snapshot.metadata, name: value}))
        with pytest.raises(UserError, match="its metadata is not that of a training"):
            resume_run(path)


def test_best_weights_have_their_own_checkpoint(run):
    path, _ = run
    weights = checkpoint.extract_weights(checkpoint.load_best_or_last(path))
    network, state = make_training_state()
    state.restore(checkpoint.load(path / "checkpoints/last.safetensors"))
    state.weight_selector.restore_weights()
    assert weights.keys() == network.named_arrays.keys()
    for name, array in network.named_arrays.items():
        np.testing.assert_array_equal(weights[name], array)


def test_failed_history_lines_are_written_later(tmp_path, monkeypatch):
    history = HistoryWriter(tmp_path / "history.jsonl")
    history.append({"epoch": 1})
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", raise_disk_full)
        for number in (2, 3):
            with pytest.raises(OSError, match="No space left"):
                history.append({"epoch": number})
    history.append({"epoch": 4})
    history.close()
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]
