"""The layers, one a file; each has its forward step and its derivative side by side."""

from nn.layers.activations import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from nn.layers.batchnorm import BatchNorm
from nn.layers.chain import Residual, Sequential
from nn.layers.conv2d import Conv2D
from nn.layers.dense import Dense
from nn.layers.dropout import Dropout
from nn.layers.flatten import Flatten
from nn.layers.layer import Layer
from nn.layers.layernorm import LayerNorm
from nn.layers.pool import AvgPool2D, MaxPool2D

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
