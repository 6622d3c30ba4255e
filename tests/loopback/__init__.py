"""A server on this machine that speaks W&B's protocol to the real client, for tests."""

from tests.loopback.faults import Fault
from tests.loopback.server import QUICK_AGENT, Loopback

__all__ = ["QUICK_AGENT", "Fault", "Loopback"]
