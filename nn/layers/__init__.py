"""The layers, one a file; each has its forward step and its derivative side by side."""

from nn.layers.dense import Dense
from nn.layers.dropout import Dropout
from nn.layers.flatten import Flatten
from nn.layers.layer import Layer
from nn.layers.relu import ReLU

__all__ = ["Dense", "Dropout", "Flatten", "Layer", "ReLU"]
