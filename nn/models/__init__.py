"""The architectures that a configuration can choose: settings in, layers out."""

from nn.models.cnn import CNN
from nn.models.linear import Linear
from nn.models.mlp import MLP
from nn.models.model import Model

__all__ = ["CNN", "MLP", "Linear", "Model"]
