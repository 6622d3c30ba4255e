"""Files that survive a crash, and reading them with care. A run meets the disk here alone."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from nn.errors import Mistake

FRESH = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def write_whole(
    path: Path, content: bytes, previous: Path | None = None, durable: bool = True
) -> None:
    """Write a file aside, bring it to the disk, and move it into place: all of it or nothing.

    What stood there before can be kept under another name. Processes may write the same file.
    A file that need not survive a power cut is not waited for.
    """
    aside = path.with_name(f".{path.name}.new")
    descriptor = _alone(aside)
    try:
        os.ftruncate(descriptor, 0)
        write_at(descriptor, 0, content)
        if durable:
            os.fsync(descriptor)
        if previous and path.exists():
            path.replace(previous)
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    finally:
        os.close(descriptor)
    if not durable:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _alone(path: Path) -> int:
    """Open a file when no other process writes it any more; closing it lets the next one in."""
    while True:
        descriptor = os.open(path, FRESH, 0o644)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        os.close(descriptor)  # which has been moved into place meanwhile


def write_at(descriptor: int, offset: int, content: bytes) -> None:
    """Write all of it, in as many parts as the system takes."""
    while content:
        done = os.pwrite(descriptor, content, offset)
        offset, content = offset + done, content[done:]


def sync(descriptor: int) -> None:
    """Bring a file to the disk."""
    os.fsync(descriptor)


def read_plain(folder: Path, name: str, most: int) -> bytes:
    """Read a file that lies in a folder itself, and is no link and no larger than it may be."""
    path = folder / name
    if path.resolve() != folder.resolve() / name:
        raise Mistake(f"{path} leads out of its folder; only a file there is read.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Mistake(f"{path} is no plain file.")
            if status.st_size > most:
                raise Mistake(f"{path} has {status.st_size:,} bytes; {most:,} are plenty.")
            parts = []
            while part := os.read(descriptor, 2**24):
                parts.append(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Mistake(f"{path} cannot be read: {error.strerror}.") from None


def lock(path: Path, doing: str = "training in this folder") -> int:
    """Take a lock that ends with this process, however it ends; give its descriptor."""
    descriptor = os.open(path, FRESH, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Mistake(f"{path.parent}: another process is {doing}.") from None
    except OSError:
        pass  # a file system without locks
    return descriptor
