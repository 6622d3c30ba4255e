"""Random networks and data for gradient checks, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from nn.layers import (
    GELU,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool2D,
    ReLU,
    Residual,
    Sigmoid,
    SiLU,
    Tanh,
)
from nn.network import Network
from nn.types import Array, Labels, Shape

seeds = st.integers(0, 2**32 - 1)
activations: st.SearchStrategy[type[Layer]] = st.sampled_from(
    [ReLU, LeakyReLU, Sigmoid, Tanh, GELU, SiLU]
)
normalizations: st.SearchStrategy[Callable[[], list[Layer]]] = st.sampled_from(
    [list, lambda: [BatchNorm()], lambda: [LayerNorm()]]
)
pools: st.SearchStrategy[type[MaxPool2D | AvgPool2D]] = st.sampled_from([MaxPool2D, AvgPool2D])


@st.composite
def dense_networks(draw: st.DrawFn) -> Network:
    """Draw an MLP with up to three hidden layers, residual where the shapes allow it."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    layers: list[Layer] = [Flatten()]
    previous_units = None
    for units in draw(st.lists(st.integers(2, 5), max_size=3)):
        block: list[Layer] = [Dense(units), *draw(normalizations)(), draw(activations)()]
        layers += [Residual(block)] if units == previous_units else block
        previous_units = units
    layers.append(Dense(draw(st.integers(2, 5)), column_major=draw(st.booleans())))
    return _random_network(draw, layers, shape)


@st.composite
def convolutional_networks(draw: st.DrawFn) -> Network:
    """Draw a CNN with any options of convolution and pooling."""
    image_size = draw(st.integers(7, 8))
    convolution = Conv2D(
        draw(st.integers(1, 3)),
        kernel=draw(st.integers(1, 3)),
        stride=draw(st.integers(1, 2)),
        padding=draw(st.integers(0, 2)),
    )
    layers: list[Layer] = [Conv2D(2, kernel=2), convolution]
    layers += [*draw(normalizations)(), draw(activations)()]
    layers += [draw(pools)(draw(st.integers(1, 2))), Flatten(), Dense(3)]
    return _random_network(draw, layers, (draw(st.integers(1, 2)), image_size, image_size + 1))


def _random_network(draw: st.DrawFn, layers: list[Layer], shape: Shape) -> Network:
    rng = np.random.default_rng(draw(seeds))
    network = Network(layers, shape, rng, np.float64)
    network.parameters.values[...] += rng.normal(0, 0.1, len(network.parameters))
    return network


networks = dense_networks() | convolutional_networks()


def deterministic_dropout(rate: float) -> Dropout:
    """Make dropout drop the same units in every step."""

    class DeterministicDropout(Dropout):
        type_name = "dropout"

        def forward(self, x: Array, training: bool) -> Array:
            self.rng = np.random.default_rng(1)
            return super().forward(x, training)

    return DeterministicDropout(rate, np.random.default_rng(1))


def random_batch(network: Network, size: int, rng: np.random.Generator) -> tuple[Array, Labels]:
    """Draw inputs and labels for a network."""
    x = rng.normal(size=(size, *network.input_shape)).astype(network.parameters.values.dtype)
    return x, rng.integers(0, network.output_shape[0], size)


def numerical_gradient(function: Callable[[], float], values: Array, step: float = 1e-6) -> Array:
    """Differentiate by central differences, perturbing the parameters in place."""
    gradient = np.zeros_like(values)
    for index in np.ndindex(values.shape):
        original = values[index]
        values[index] = original + step
        upper = function()
        values[index] = original - step
        lower = function()
        values[index] = original
        gradient[index] = (upper - lower) / (2 * step)
    return gradient
