"""Random networks and data for gradient checks, in float64."""

from __future__ import annotations

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

seeds = st.integers(0, 2**32 - 1)
activations = st.sampled_from([ReLU, LeakyReLU, Sigmoid, Tanh, GELU, SiLU])
normalizations = st.sampled_from([list, lambda: [BatchNorm()], lambda: [LayerNorm()]])


@st.composite
def dense_networks(draw):
    """Draw an MLP with up to three hidden layers, residual where the shapes allow it."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    layers, below = [Flatten()], None
    for units in draw(st.lists(st.integers(2, 5), max_size=3)):
        block = [Dense(units), *draw(normalizations)(), draw(activations)()]
        layers += [Residual(block)] if units == below else block
        below = units
    layers.append(Dense(draw(st.integers(2, 5)), column_major=draw(st.booleans())))
    return _network(draw, layers, shape)


@st.composite
def convolutional_networks(draw):
    """Draw a CNN with any options of convolution and pooling."""
    side = draw(st.integers(7, 8))
    convolution = Conv2D(
        draw(st.integers(1, 3)),
        kernel=draw(st.integers(1, 3)),
        stride=draw(st.integers(1, 2)),
        padding=draw(st.integers(0, 2)),
    )
    layers = [Conv2D(2, kernel=2), convolution, *draw(normalizations)(), draw(activations)()]
    layers.append(draw(st.sampled_from([MaxPool2D, AvgPool2D]))(draw(st.integers(1, 2))))
    layers += [Flatten(), Dense(3)]
    return _network(draw, layers, (draw(st.integers(1, 2)), side, side + 1))


def _network(draw, layers, shape):
    rng = np.random.default_rng(draw(seeds))
    network = Network(layers, shape, rng, np.float64)
    network.parameters.values[...] += rng.normal(0, 0.1, len(network.parameters))
    return network


networks = dense_networks() | convolutional_networks()


def fixed_dropout(rate):
    """Make dropout drop the same units in every step."""

    class Fixed(Dropout):
        type_name = "dropout"

        def forward(self, x, training):
            self.rng = np.random.default_rng(1)
            return super().forward(x, training)

    return Fixed(rate, np.random.default_rng(1))


def batch(network, size, rng):
    """Draw inputs and labels for a network."""
    x = rng.normal(size=(size, *network.input_shape)).astype(network.parameters.values.dtype)
    return x, rng.integers(0, network.output_shape[0], size)


def numeric_gradient(function, values, step=1e-6):
    """Differentiate by central differences, perturbing the parameters in place."""
    gradient = np.zeros_like(values)
    for index in np.ndindex(values.shape):
        kept = values[index]
        values[index] = kept + step
        above = function()
        values[index] = kept - step
        below = function()
        values[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient
