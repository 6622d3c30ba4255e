"""Private parts of Hydra 1.3, gathered here because a new version may change them."""

from __future__ import annotations

import argparse
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from nn.errors import UserError


class FlagParser(argparse.ArgumentParser):
    """Parser of Hydra's flags, such as `--multirun`; Hydra gives no public access to its own."""

    def __init__(self) -> None:
        super().__init__(add_help=False, parents=[get_args_parser()])

    def error(self, message: str) -> NoReturn:
        """Refuse a flag; Hydra would print its usage."""
        raise UserError(f"{message}; --help lists the flags.")
