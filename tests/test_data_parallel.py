"""Batches in shards: gradients like those of the whole batch, and the same bits on any threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nn.data_parallel import auto_shards
from nn.layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, Layer, LayerNorm, ReLU, Residual
from nn.losses import SoftmaxCrossEntropy
from nn.models import CNN, MLP
from nn.network import Network
from nn.randomness import RandomGenerators
from nn.shards import ShardGroup
from tests.layers.test_layers import INPUT_SHAPE, LAYER_STACKS, random_samples

BATCH_SIZES = (12, 12, 7, 3, 12)
"""Batches that do not divide evenly, and one of fewer samples than there may be shards."""


def train(network, group, batch_sizes=BATCH_SIZES):
    """Return all outputs, gradients and running statistics of some training steps."""
    if group:
        network.split_batches(group)
    loss = SoftmaxCrossEntropy()
    loss.build(*network.output_shape, np.dtype(np.float32))
    results = []
    for seed, size in enumerate(batch_sizes):
        outputs = network.forward(random_samples(size, seed), training=True)
        results.append(outputs.copy())
        network.backward(loss.gradient(outputs, np.arange(size) % network.output_shape[0]))
        results += [network.parameters.gradients.copy(), *map(np.copy, network.state.values())]
        network.parameters.values -= 0.01 * network.parameters.gradients
    return results


def build(layers):
    return Network([*layers, Flatten(), Dense(2)], INPUT_SHAPE, np.random.default_rng(0))


STACKS = {
    **{
        name: lambda stack=stack: [Conv2D(2, kernel=1), *stack()]
        for name, stack in LAYER_STACKS.items()
    },
    "many layers": lambda: [
        Conv2D(3, padding=1),
        BatchNorm(),
        ReLU(),
        Dropout(0.2, rng := np.random.default_rng(1)),
        Residual([Conv2D(3, padding=1), LayerNorm(), Dropout(0.4, rng), BatchNorm()]),
        Flatten(),
        Dropout(0.3, rng),
    ],
    "no trainable layer first": lambda: [Dropout(0.5, np.random.default_rng(1)), ReLU()],
}


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS.keys())
@pytest.mark.parametrize("num_shards", [2, 3, 5])
def test_shards_compute_what_the_whole_batch_computes_and_threads_never_change_bits(
    stack, num_shards
):
    expected = train(build(stack()), None)
    results = []
    for num_threads in (1, 2, 4):
        with ShardGroup(num_shards, num_threads) as group:
            results.append(train(build(stack()), group))
    for actual, array in zip(results[0], expected, strict=True):
        np.testing.assert_allclose(actual, array, rtol=1e-3, atol=1e-5)
    for others in results[1:]:
        for actual, array in zip(others, results[0], strict=True):
            np.testing.assert_array_equal(actual, array)


def test_at_most_num_threads_shards_work_at_a_time():
    num_working, most, lock = 0, 0, threading.Lock()

    def work(shard):
        nonlocal num_working, most
        for _ in range(20):
            with lock:
                num_working += 1
                most = max(most, num_working)
            sum(range(1000))
            with lock:
                num_working -= 1
            shard.wait_for_all()

    with ShardGroup(5, 2) as group:
        group.split(5)
        group.run(work)
    assert most <= 2


class FailingLayer(Layer):
    """Raises an error in one shard, while the others wait for it in a batch normalization."""

    is_failing = True

    def forward(self, x, training):
        if self.is_failing and self.shard.index == 1:
            raise MemoryError("this shard")
        return x

    def backward(self, dy):
        return dy


@pytest.mark.parametrize("num_threads", [1, 3])
def test_error_in_a_thread_is_raised_and_leaves_a_usable_network(num_threads):
    network = build([failing := FailingLayer(), Conv2D(2), BatchNorm()])
    with ShardGroup(3, num_threads) as group:
        network.split_batches(group)
        for _ in range(3):
            with pytest.raises(MemoryError, match="this shard"):
                network.forward(random_samples(9), training=True)
        for replica in network.data_parallel.replicas:
            replica.layers[0].is_failing = False
        assert np.isfinite(network.forward(random_samples(9), training=True)).all()
    assert failing.shard is None


def test_threads_inherit_how_overflows_are_handled():
    network = build([])
    network.parameters.values[...] = 1e38
    with ShardGroup(2, 2) as group, np.errstate(over="raise"):
        network.split_batches(group)
        with pytest.raises(FloatingPointError):
            network.forward(random_samples(8) * 100, training=True)
        with np.errstate(over="ignore", invalid="ignore"):
            network.forward(random_samples(8) * 100, training=True)


@pytest.mark.parametrize(
    ("model", "shape", "batch_size", "num_shards"),
    [
        (MLP(), (1, 8, 8), 32, 1),
        (MLP(hidden=[256, 128]), (1, 28, 28), 128, 1),
        (MLP(hidden=[256, 128]), (1, 28, 28), 512, 2),
        (MLP(hidden=[1024, 512]), (1, 28, 28), 128, 2),
        (CNN(channels=[16, 48, 96]), (1, 28, 28), 128, 2),
        (CNN(channels=[16, 48, 96]), (1, 28, 28), 4096, 8),
    ],
)
def test_automatic_number_of_shards_follows_from_the_shapes(model, shape, batch_size, num_shards):
    rngs = RandomGenerators.from_seed(0)
    network = Network(model.build_layers(10, rngs), shape, rngs.init)
    assert auto_shards(network.sequential, batch_size) == num_shards
