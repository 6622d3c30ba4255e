"""Predict the classes of a file of samples or of images."""

from nn.cli.launch import predict

if __name__ == "__main__":
    predict()
