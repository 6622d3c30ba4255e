"""The real `wandb` command line, with an agent that polls every 0.2 s instead of every 5 s."""

from unittest.mock import patch

from wandb.cli.cli import cli
from wandb.wandb_agent import Agent

patch.object(Agent, "POLL_INTERVAL", 0.2).start()

if __name__ == "__main__":
    cli()
