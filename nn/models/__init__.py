"""Architectures that a config can select: classes whose settings determine the layers."""

from nn.models.base import Model
from nn.models.cnn import CNN
from nn.models.linear import Linear
from nn.models.mlp import MLP

__all__ = ["CNN", "MLP", "Linear", "Model"]
