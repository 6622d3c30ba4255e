"""Train a network, or with --multirun several."""

from nn.cli.launch import train

if __name__ == "__main__":
    train()
