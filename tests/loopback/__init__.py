"""A local fake of W&B's server that speaks its protocol with the real client."""

from tests.loopback.faults import Fault
from tests.loopback.server import QUICK_AGENT, Loopback

__all__ = ["QUICK_AGENT", "Fault", "Loopback"]
