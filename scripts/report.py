"""Write a report of runs or sweeps."""

from nn.cli.launch import report

if __name__ == "__main__":
    report()
