"""Upload runs to W&B."""

from nn.cli.launch import upload

if __name__ == "__main__":
    upload()
