"""Run a command as a process: standard streams, Ctrl-C and exit status.

Until `launch` handles Ctrl-C, Python responds to it with a traceback, so little is imported here.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, TextIO

MAX_EXIT_SECONDS = 5.0
"""Time for the exit hooks of libraries after Ctrl-C; W&B uploads from a separate process."""


def train() -> None:
    """Run `nn.cli.train` as the process's command."""
    launch(_lazy_main("train"), prints_result=False, exits_at_once=True)


def sweep() -> None:
    """Run `nn.cli.sweep` as the process's command."""
    launch(_lazy_main("sweep"), prints_result=False, exits_at_once=True)


def report() -> None:
    """Run `nn.cli.report` as the process's command."""
    launch(_lazy_main("report"), prints_result=True, exits_at_once=False)


def predict() -> None:
    """Run `nn.cli.predict` as the process's command."""
    launch(_lazy_main("predict"), prints_result=True, exits_at_once=False)


def upload() -> None:
    """Run `nn.cli.upload` as the process's command."""
    launch(_lazy_main("upload"), prints_result=True, exits_at_once=False)


def launch(main: Callable[[], int], *, prints_result: bool, exits_at_once: bool) -> None:
    """Run a command and exit with its status.

    In an interactive session, such as IPython's %run, the process does not exit, and its streams,
    signal handlers and environment variables stay as they are.

    Args:
        main: The command, which returns its exit status.
        prints_result: Whether an output that cannot be written makes the command fail.
        exits_at_once: Whether Ctrl-C ends the process without cleaning up, until the command
            installs a handler of its own.
    """
    if hasattr(sys, "ps1"):
        _run_in_interactive_session(main)
        return
    if exits_at_once and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from nn.runs.signals import exit_by_signal, hangs_at_exit

    _unset_empty_wandb_variables()
    _open_missing_descriptors()
    stdout = _TolerantFileIO(1)
    sys.stdout, sys.stderr = (
        _make_text_stream(stdout, sys.stdout),
        _make_text_stream(_TolerantFileIO(2), sys.stderr),
    )
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        if getattr(interrupt, "signum", signal.SIGINT) == signal.SIGINT:
            _limit_exit_time(130)
        exit_by_signal(interrupt)
    if (
        prints_result
        and status == 0
        and stdout.first_error
        and stdout.first_error.errno != errno.EPIPE
    ):
        print(f"The output could not be written: {stdout.first_error.strerror}.", file=sys.stderr)
        status = 1
    if hangs_at_exit.is_set():
        _exit_now(status)
    sys.exit(status)


def _lazy_main(command: str) -> Callable[[], int]:
    """Return the main function of a command, whose module is imported when it is called."""

    def main() -> int:
        from importlib import import_module

        status: int = import_module(f"nn.cli.{command}").main()
        return status

    return main


def _run_in_interactive_session(main: Callable[[], int]) -> None:
    from nn.runs.signals import HANDLED_SIGNALS

    handlers = {signum: signal.getsignal(signum) for signum in HANDLED_SIGNALS}
    environment = dict(os.environ)
    _unset_empty_wandb_variables()
    try:
        main()
    except (SystemExit, KeyboardInterrupt):
        pass  # the command has reported it
    finally:
        for signum, handler in handlers.items():
            if signal.getsignal(signum) != handler:
                signal.signal(signum, handler)
        # wandb's child processes use WANDB_SERVICE
        for name in os.environ.keys() - environment.keys() - {"WANDB_SERVICE"}:
            del os.environ[name]
        os.environ.update(environment)


def _unset_empty_wandb_variables() -> None:
    """Unset empty W&B variables, which CI systems may define: wandb rejects most of them."""
    for name in [name for name, value in os.environ.items() if not value]:
        if name.startswith("WANDB_"):
            del os.environ[name]


class _TolerantFileIO(io.FileIO):
    """A standard stream that drops data which cannot be written, and keeps the first error."""

    first_error: OSError | None = None

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w", closefd=False)

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.first_error = self.first_error or error
            return len(data)


def _make_text_stream(raw: _TolerantFileIO, original: TextIO | None) -> TextIO:
    """Return a text stream with the settings of `original`, which is None if it was closed.

    With PYTHONUNBUFFERED there is no `BufferedWriter`, as in Python's own streams: it would hold
    back the data that the text stream writes through.
    """
    is_unbuffered = getattr(original, "write_through", False)
    return io.TextIOWrapper(
        raw if is_unbuffered else io.BufferedWriter(raw),
        encoding=getattr(original, "encoding", "utf-8"),
        errors="replace",
        line_buffering=getattr(original, "line_buffering", False),
        write_through=is_unbuffered,
    )


def _open_missing_descriptors() -> None:
    """Open /dev/null for closed standard streams, whose descriptors other files would get."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _limit_exit_time(status: int) -> None:
    """Limit the time of libraries' exit hooks; skip them if one of them would hang."""
    import threading

    from nn.runs.signals import hangs_at_exit

    if hangs_at_exit.is_set():
        _exit_now(status)
    timer = threading.Timer(MAX_EXIT_SECONDS, _exit_now, [status])
    timer.daemon = True
    timer.start()


def _exit_now(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
