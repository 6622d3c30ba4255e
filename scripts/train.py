"""Train a network, or several with --multirun."""

from nn.cli.launch import train

if __name__ == "__main__":
    train()
