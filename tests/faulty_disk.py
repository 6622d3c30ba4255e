"""A disk that fails at a chosen operation, for tests within this process."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import pytest

ERROR_CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)


def raise_disk_full(*_: object, **__: object) -> NoReturn:
    """Fail as a write on a full disk does, in place of the function that writes."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FaultyDisk:
    """Make one operation on the files below a directory fail, or all from then on.

    The operations are functions of `os`, and "io.open" for the files that Python opens itself.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        directory: Path,
        operations: Iterable[str],
        fail_at: int,
        error: int,
        persistent: bool,
    ) -> None:
        self.directory, self.fail_at, self.error, self.persistent = (
            directory,
            fail_at,
            error,
            persistent,
        )
        self.num_operations, self.failed_operation = 0, ""
        self.open_descriptors: set[int] = set()
        for name in operations:
            module, function = (io, "open") if name == "io.open" else (os, name)
            monkeypatch.setattr(module, function, self.wrap(name, getattr(module, function)))

    def wrap(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path_or_fd: int | str | Path, *args: Any, **kwargs: Any) -> Any:
            is_descriptor = isinstance(path_or_fd, int)
            is_inside = str(path_or_fd).startswith(str(self.directory))
            if not (path_or_fd in self.open_descriptors if is_descriptor else is_inside):
                return original(path_or_fd, *args, **kwargs)
            self.num_operations += 1
            if self.num_operations == self.fail_at or (
                self.persistent and self.num_operations > self.fail_at
            ):
                self.failed_operation = f"{name} {path_or_fd}"
                raise OSError(self.error, os.strerror(self.error))
            result = original(path_or_fd, *args, **kwargs)
            if name == "open":
                self.open_descriptors.add(result)
            return result

        return operation
