"""A local fake of W&B's server that speaks its protocol with the real client."""

from tests.fake_wandb.faults import Fault
from tests.fake_wandb.server import WANDB_CLI, FakeWandbServer

__all__ = ["WANDB_CLI", "FakeWandbServer", "Fault"]
