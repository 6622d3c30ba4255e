"""Layers, each with its forward pass and its derivative side by side."""

from nn.layers.activations import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from nn.layers.conv2d import Conv2D
from nn.layers.dense import Dense
from nn.layers.dropout import Dropout
from nn.layers.flatten import Flatten
from nn.layers.layer import Layer
from nn.layers.normalization import BatchNorm, LayerNorm
from nn.layers.pooling import AvgPool2D, MaxPool2D
from nn.layers.sequential import Residual, Sequential

__all__ = [
    "GELU",
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool2D",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Tanh",
]
