"""Run a W&B sweep file on every core, without a server."""

from nn.cli.launch import sweep

if __name__ == "__main__":
    sweep()
