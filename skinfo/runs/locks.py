"""One writer of a run at a time."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skinfo.errors import RunError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def only_writer(lock: Path, path: Path, epoch: int | None = None) -> Iterator[None]:
    """Keep other writers out until the block ends, or the process does, however it ends.

    The operating system holds the lock, not the file: what a killed writer leaves of it blocks
    nobody. The file says who has it.

    Parameters
    ----------
    lock : Path
        The file to lock.
    path, epoch : Path, int
        What is to be written, for the message.

    Raises
    ------
    RunError
        If another writer is at work; it is named by process and host.
    """
    if fcntl is None:  # pragma: no cover - Windows
        yield
        return
    handle = _take(lock, path, epoch)
    try:
        yield
    finally:
        # While it is still held, so that nobody removes the file of the next.
        lock.unlink(missing_ok=True)
        os.close(handle)


def _take(lock: Path, path: Path, epoch: int | None) -> int:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise RunError(
                f"{other} is writing this run; let it finish or write elsewhere",
                path=path, epoch=epoch,
            ) from None  # fmt: skip
        except OSError as error:
            warnings.warn(
                f"{path}: this file system has no locks ({error.strerror}); make sure that one "
                "process at a time writes the run.",
                stacklevel=4,
            )
        # The one before may have removed the file between our opening and locking it.
        if _is_still(handle, lock):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
            return handle
        os.close(handle)


def _is_still(handle: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(lock))
    except FileNotFoundError:
        return False
