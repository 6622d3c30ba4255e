"""Neural networks in pure NumPy, and the harness that trains and sweeps them.

From Python: `nn.train`, `nn.load_run` and `nn.load_sweep`; errors are `nn.UserError` and
`nn.DivergedError`. These are imported on first use, so that the numeric library stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nn.api import DivergedError, Run, Sweep, UserError, load_run, load_sweep, train

__all__ = ["DivergedError", "Run", "Sweep", "UserError", "load_run", "load_sweep", "train"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from nn import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
