"""Atomic writes, safe reads and locks for the files of runs and sweeps."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nn.errors import SaveError, UserError
from nn.io.paths import relpath

OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def atomic_write(
    path: Path, content: bytes, backup_path: Path | None = None, durable: bool = True
) -> None:
    """Write a temporary file, fsync it, and rename it into place, so that no partial file is seen.

    Several processes may write the same file.

    Args:
        backup_path: New path of the previous file, if there is one; by default, it is overwritten.
        durable: Whether to fsync; not needed for a file that need not survive a power failure.
    """
    with staged_file(path, content, durable) as commit:
        if backup_path and path.exists():
            path.replace(backup_path)
        commit()


@contextmanager
def staged_file(path: Path, content: bytes, durable: bool = True) -> Iterator[Callable[[], object]]:
    """Write and fsync a temporary file, and yield the function that renames it into place.

    If the block raises an OSError, the temporary file is removed.
    """
    temp_path = path.with_name(f".{path.name}.new")
    descriptor = _open_locked(temp_path, fcntl.LOCK_EX)
    try:
        os.ftruncate(descriptor, 0)
        write_at(descriptor, 0, content)
        if durable:
            os.fsync(descriptor)
        yield lambda: temp_path.replace(path)
    except OSError:
        with suppress(OSError):
            temp_path.unlink()
        raise
    finally:
        os.close(descriptor)
    if not durable:
        return
    directory_descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory_descriptor)  # makes the rename durable
    finally:
        os.close(directory_descriptor)


@contextmanager
def staged_files(contents: Iterable[tuple[Path, bytes]]) -> Iterator[Callable[[], list[Path]]]:
    """Write temporary files, and yield the function that renames all of them into place.

    If an error occurs before that, they are removed and the existing files are unchanged.
    """
    temp_paths: dict[Path, Path] = {}

    def commit() -> list[Path]:
        for path, temp_path in temp_paths.items():
            try:
                temp_path.replace(path)
            except OSError as error:
                raise SaveError(f"{relpath(path)} cannot be written: {error.strerror}.") from None
        return list(temp_paths)

    try:
        for path, content in contents:
            try:
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                temp_paths[path] = path.with_name(f".{secrets.token_hex(8)}.new")
                with temp_paths[path].open("xb") as file:
                    file.write(content)
            except OSError as error:
                raise _write_error(path, error) from None
        yield commit
    finally:
        for temp_path in temp_paths.values():
            with suppress(OSError):
                temp_path.unlink(missing_ok=True)


@contextmanager
def makedirs_with_rollback(path: Path) -> Iterator[None]:
    """Create a directory with its parents; if the block fails, remove the new, empty ones again."""
    new_directories = []
    try:
        new_directories = [parent for parent in (path, *path.parents) if not parent.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _write_error(path, error) from None
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for directory in new_directories:
                directory.rmdir()
        raise


def write_at(descriptor: int, offset: int, content: bytes) -> None:
    """Write all bytes at an offset; a single pwrite may write fewer."""
    while content:
        num_written = os.pwrite(descriptor, content, offset)
        offset, content = offset + num_written, content[num_written:]


def fsync(descriptor: int) -> None:
    """Flush a file to the disk."""
    os.fsync(descriptor)


def read_regular_file(directory: Path, name: str, max_bytes: int) -> bytes:
    """Read a file of a run or sweep directory, which may come from an untrusted source.

    Raises:
        FileNotFoundError: The file does not exist.
        UserError: It is a symbolic link, not a regular file, too large, or unreadable.
    """
    path = directory / name
    try:
        is_symlink = path.resolve() != directory.resolve() / name
    except RuntimeError:  # a link to itself, before Python 3.13
        is_symlink = True
    if is_symlink:
        raise UserError(f"{path} is a symbolic link; it must be a regular file.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path} is not a regular file.")
            if status.st_size > max_bytes:
                raise UserError(
                    f"{path} has {status.st_size:,} bytes; at most {max_bytes:,} are allowed."
                )
            chunks = []
            while chunk := os.read(descriptor, 2**24):
                chunks.append(chunk)
            return b"".join(chunks)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


def acquire_lock(path: Path, activity: str = "training in this directory") -> int:
    """Acquire a lock that the system releases when this process ends; return its descriptor.

    Raises:
        UserError: Another process holds the lock; the message says that it is doing `activity`.
    """
    try:
        return _open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{path.parent}: another process is {activity}.") from None


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock; if the block raises UserError, remove the lock file if it is new."""
    is_new = not path.exists()
    descriptor = acquire_lock(path)
    try:
        yield
    except UserError:
        if is_new:
            with suppress(OSError):
                path.unlink()
        raise
    finally:
        os.close(descriptor)


def _write_error(path: Path, error: OSError) -> UserError:
    return UserError(f"{relpath(path)}: nothing can be written there: {error.strerror}.")


def _open_locked(path: Path, operation: int) -> int:
    """Open a file and lock it with this flock operation; closing the file releases the lock."""
    while True:
        descriptor = os.open(path, OPEN_FLAGS, 0o644)
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:
            pass  # the file system does not support locks
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        os.close(descriptor)  # another process has renamed or removed this file in the meantime
