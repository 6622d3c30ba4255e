"""A disk that fails at a chosen operation, for tests within this process."""

from __future__ import annotations

import errno
import io
import os

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)


def raise_disk_full(*_, **__):
    """Fail as a write on a full disk does, in place of the function that writes."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FaultyDisk:
    """Make one operation on the files below a directory fail, or all from then on.

    The operations are functions of `os`, and "io.open" for the files that Python opens itself.
    """

    def __init__(self, monkeypatch, directory, operations, moment, error, lasting):
        self.directory, self.moment, self.error, self.lasting = directory, moment, error, lasting
        self.count, self.failed, self.ours = 0, "", set()
        for name in operations:
            module, function = (io, "open") if name == "io.open" else (os, name)
            monkeypatch.setattr(module, function, self.failing(name, getattr(module, function)))

    def failing(self, name, original):
        def operation(where, *arguments, **named):
            is_descriptor = isinstance(where, int)
            below = str(where).startswith(str(self.directory))
            if not (where in self.ours if is_descriptor else below):
                return original(where, *arguments, **named)
            self.count += 1
            if self.count == self.moment or (self.lasting and self.count > self.moment):
                self.failed = f"{name} {where}"
                raise OSError(self.error, os.strerror(self.error))
            result = original(where, *arguments, **named)
            if name == "open":
                self.ours.add(result)
            return result

        return operation
