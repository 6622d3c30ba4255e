"""The command line: how a command begins and ends."""
