"""Atomic writes, safe reads and locks for the files of runs and sweeps."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nn.errors import SaveError, UserError
from nn.io.paths import relpath

OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
LOCK_TEST_SECONDS = 0.05
"""Seconds within which `is_locked` has released a lock that it tested."""
SETTLING_SECONDS = 3.0
"""Age of a directory's modification time at which later changes certainly have another one."""


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


def read_regular_file(directory: Path, name: str, max_bytes: int, offset: int = 0) -> bytes:
    """Read a file of a run or sweep directory, which may come from an untrusted source.

    Args:
        directory: The directory, of which the file must not link out.
        name: The file's path in the directory.
        max_bytes: Size above which the file is refused.
        offset: Bytes at the beginning that are skipped.

    Raises:
        FileNotFoundError: The file does not exist.
        UserError: It is a symbolic link, not a regular file, too large, or unreadable.
    """
    path = directory / name
    symlink_error = UserError(f"{path} is a symbolic link; it must be a regular file.")
    try:
        # O_NOFOLLOW refuses a link to the file itself, at a tenth of the time
        is_symlink = os.sep in name and path.resolve() != directory.resolve() / name
    except RuntimeError:  # a link to itself, before Python 3.13
        is_symlink = True
    if is_symlink:
        raise symlink_error
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
            os.lseek(descriptor, offset, os.SEEK_SET)
            chunks = []
            while chunk := os.read(descriptor, 2**24):
                chunks.append(chunk)
            return b"".join(chunks)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise symlink_error from None
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


@dataclass(frozen=True)
class FileStamp:
    """Identity, size and modification time of a file, which change when it is written."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp | None:
        """Return the stamp of a file, or None if it is missing or inaccessible."""
        try:
            status = os.lstat(path)
        except OSError:
            return None
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


class TailReader:
    """Reads the lines appended to a file of an untrusted directory, each of them once.

    An incomplete last line is returned once it ends. A file that no longer starts with the lines
    returned before, because it was truncated or replaced, is read again from its beginning.
    """

    def __init__(self, directory: Path, name: str, max_bytes: int) -> None:
        self._directory, self._name, self._max_bytes = directory, name, max_bytes
        self._stamp: FileStamp | None = None
        self._position, self._last_line = 0, b""

    def read_lines(self) -> tuple[list[bytes], bool]:
        """Return the new lines, and whether they replace those returned before.

        Raises:
            UserError: The file is a symbolic link, not a regular file, too large, or unreadable.
        """
        stamp = FileStamp.of(self._directory / self._name)
        if stamp == self._stamp:
            return [], False
        start = self._position - len(self._last_line)
        try:
            content = self._read(start)
            is_replaced = not content.startswith(self._last_line) or (
                self._stamp is not None and stamp is not None and stamp.inode != self._stamp.inode
            )
            if is_replaced:
                start, self._last_line = 0, b""
                content = self._read(0)
        except FileNotFoundError:
            is_replaced = self._position > 0
            start, self._last_line, content = 0, b"", b""
        end = content.rfind(b"\n") + 1
        lines = content[len(self._last_line) : end].split(b"\n")[:-1]
        self._stamp, self._position = stamp, start + end
        if lines:
            self._last_line = lines[-1] + b"\n"
        return lines, is_replaced

    def _read(self, offset: int) -> bytes:
        return read_regular_file(self._directory, self._name, self._max_bytes, offset)


def acquire_lock(path: Path, activity: str = "training in this directory") -> int:
    """Acquire a lock that the system releases when this process ends; return its descriptor.

    Raises:
        UserError: Another process holds the lock; the message says that it is doing `activity`.
    """
    for is_last_attempt in (False, True):
        try:
            return _open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_last_attempt:
                time.sleep(LOCK_TEST_SECONDS)
    raise UserError(f"{path.parent}: another process is {activity}.")


def is_locked(path: Path) -> bool | None:
    """Return whether a process holds a lock; None if locks do not work there.

    The lock is taken for a moment, which `acquire_lock` waits for.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


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
