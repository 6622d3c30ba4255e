"""Files that survive a crash, and reading them with care. A run meets the disk here alone."""

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
    """Write a file aside, bring it to the disk, and move it into place: all of it or nothing.

    What stood there before can be kept under another name. Processes may write the same file.
    A file that need not survive a power cut is not waited for.
    """
    with staged_file(path, content, durable) as commit:
        if backup_path and path.exists():
            path.replace(backup_path)
        commit()


@contextmanager
def staged_file(path: Path, content: bytes, durable: bool = True) -> Iterator[Callable[[], object]]:
    """Write a file aside and bring it to the disk; the block moves it into place when it is time.

    If the block fails with an error of the system, the file aside is removed.
    """
    temp_path = path.with_name(f".{path.name}.new")
    descriptor = _open_exclusive(temp_path)
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
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def staged_files(contents: Iterable[tuple[Path, bytes]]) -> Iterator[Callable[[], list[Path]]]:
    """Write files aside as they come; the block moves all of them into place when it is time.

    Until then a refusal leaves none of them behind, and the files they replace as they were.
    """
    temp_paths: dict[Path, Path] = {}

    def commit() -> list[Path]:
        for path, aside in temp_paths.items():
            try:
                aside.replace(path)
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
        for aside in temp_paths.values():
            with suppress(OSError):
                aside.unlink(missing_ok=True)


@contextmanager
def makedirs_with_rollback(path: Path) -> Iterator[None]:
    """Make a folder with those above it; if the block fails, the new ones are removed if empty."""
    missing = []
    try:
        missing = [place for place in (path, *path.parents) if not place.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _write_error(path, error) from None
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for place in missing:
                place.rmdir()
        raise


def _write_error(path: Path, error: OSError) -> UserError:
    return UserError(f"{relpath(path)}: nothing can be written there: {error.strerror}.")


def _open_exclusive(path: Path) -> int:
    """Open a file when no other process writes it any more; closing it lets the next one in."""
    while True:
        descriptor = os.open(path, OPEN_FLAGS, 0o644)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        os.close(descriptor)  # which has been moved into place meanwhile


def write_at(descriptor: int, offset: int, content: bytes) -> None:
    """Write all of it, in as many parts as the system takes."""
    while content:
        num_written = os.pwrite(descriptor, content, offset)
        offset, content = offset + num_written, content[num_written:]


def fsync(descriptor: int) -> None:
    """Bring a file to the disk."""
    os.fsync(descriptor)


def read_regular_file(folder: Path, name: str, max_bytes: int) -> bytes:
    """Read a file that lies in a folder itself, and is no link and no larger than it may be."""
    path = folder / name
    try:
        is_inside = path.resolve() == folder.resolve() / name
    except RuntimeError:  # a link that leads to itself, before Python 3.13
        is_inside = False
    if not is_inside:
        raise UserError(f"{path} leads out of its folder; only a file there is read.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path} is no plain file.")
            if status.st_size > max_bytes:
                raise UserError(f"{path} has {status.st_size:,} bytes; {max_bytes:,} are plenty.")
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


def acquire_lock(path: Path, activity: str = "training in this folder") -> int:
    """Take a lock that ends with this process, however it ends; give its descriptor."""
    while True:
        descriptor = os.open(path, OPEN_FLAGS, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(f"{path.parent}: another process is {activity}.") from None
        except OSError:
            pass  # a file system without locks
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        os.close(descriptor)  # a refused process has removed this file meanwhile


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock; if the block refuses its work, a lock file that is new is removed again."""
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
