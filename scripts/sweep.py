"""Run a W&B sweep file on all cores, without a server."""

from nn.cli.launch import sweep

if __name__ == "__main__":
    sweep()
