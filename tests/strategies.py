"""Small random networks and data for the proofs, in float64."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nn.layers import Dense, Flatten, ReLU
from nn.network import Network

seeds = st.integers(0, 2**32 - 1)


@st.composite
def networks(draw):
    """Draw a network with up to three hidden layers, and say what it takes."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    layers = [Flatten()]
    for units in draw(st.lists(st.integers(1, 6), max_size=3)):
        layers += [Dense(units), ReLU()]
    layers.append(Dense(draw(st.integers(2, 5)), by_column=draw(st.booleans())))
    rng = np.random.default_rng(draw(seeds))
    network = Network(layers, shape, rng, np.float64)
    network.parameters.values[...] += rng.normal(0, 0.1, len(network.parameters))
    return network


def batch(network, size, rng):
    """Draw inputs and labels that fit a network."""
    x = rng.normal(size=(size, *network.input_shape)).astype(network.parameters.values.dtype)
    return x, rng.integers(0, network.output_shape[0], size)


def numeric_gradient(function, values, step=1e-6):
    """Differentiate by central differences, in place."""
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
