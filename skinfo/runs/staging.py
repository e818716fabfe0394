"""A file that changes all at once: what one container in one file needs to survive a kill.

Bytes beyond the committed end go to the file as they come, for nobody looks there. Bytes before it
are kept in memory (of an HDF5 file to which a checkpoint is added: a few pages of its index), until
``commit`` writes them to a journal beside the file, then into the file, and removes the journal.
A process that ends before the journal has its name has changed nothing; one that ends after leaves
a journal from which anyone can see, and the next writer restores, the new state.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from pathlib import Path

from skinfo._files import write_atomically
from skinfo.errors import RunError

_PAGE = 4096
_MAGIC = b"skinfo journal 1\n"
_NUMBERS = struct.Struct("<QQ")
Pages = dict[int, bytes]


def pending_of(path: Path) -> Path:
    """The journal beside a file: changes that it may not have yet."""
    return path.with_name(f".{path.name}.journal")


class StagedFile(io.RawIOBase):
    """A file as the library of a container sees it.

    Parameters
    ----------
    path : Path
        The file, which exists.
    writable : bool
        Whether to change it; the writer holds its lock. Otherwise what a journal says is shown.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        super().__init__()
        self._path, self._writable = path, writable
        if writable:
            recover(path)
        self._handle = _open(path, os.O_RDWR if writable else os.O_RDONLY)
        self._end = self._start = os.fstat(self._handle).st_size
        self._pages: dict[int, bytearray] = {}
        self._position = 0
        #: What went wrong first; from then on nothing is written, and nothing can be committed.
        self.failure: OSError | None = None
        self._committed = False
        if writable:
            # From here on the file may be longer than what is committed.
            _write_pending(path, self._start, {})
        else:
            state = _read_pending(path)
            if state is not None and state[1]:
                self._end = state[0]
                self._pages = {at: bytearray(page) for at, page in state[1].items()}

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Whether it may be changed."""
        return self._writable

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}
        self._position = origin[whence] + offset
        return self._position

    def tell(self) -> int:
        """The place."""
        return self._position

    def readinto(self, buffer: object) -> int:
        """Read, with what is staged in its place."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        start = self._position
        count = max(0, min(len(view), self._end - start))
        done = 0
        while done < count:
            piece = _read_at(self._handle, count - done, start + done)
            if not piece:
                view[done:count] = bytes(count - done)
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
        for at in range(start - start % _PAGE, start + count, _PAGE):
            page = self._pages.get(at)
            if page is not None:
                first, last = max(at, start), min(at + len(page), start + count)
                if first < last:
                    view[first - start : last - start] = page[first - at : last - at]
        self._position += count
        return count

    def write(self, data: object) -> int:
        """Stage what lies before the committed end, write what lies beyond."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        at, done = self._position, 0
        while done < len(view) and at + done < self._start:
            done += self._stage(at + done, view[done:])
        try:
            while done < len(view) and self.failure is None:
                done += _write_at(self._handle, view[done:], at + done)
        except OSError as error:
            # Not raised here: a container that cannot be closed would never be rid of.
            self.failure = error
        self._position = at + len(view)
        self._end = max(self._end, self._position)
        return len(view)

    def _stage(self, at: int, view: memoryview) -> int:
        first = at - at % _PAGE
        if first not in self._pages:
            length = min(_PAGE, self._start - first)
            self._pages[first] = bytearray(_read_at(self._handle, length, first))
        page = self._pages[first]
        count = min(len(view), len(page) - (at - first))
        page[at - first : at - first + count] = view[:count]
        return count

    def truncate(self, size: int | None = None) -> int:
        """Set the end; nothing committed is cut off before commit."""
        self._end = self._position if size is None else size
        try:
            if self._end > self._start and self.failure is None:
                os.ftruncate(self._handle, self._end)
        except OSError as error:
            self.failure = error
        return self._end

    def flush(self) -> None:
        """Nothing is for others to see before commit."""

    def check(self) -> None:
        """Raise what went wrong."""
        if self.failure is not None:
            raise self.failure

    def commit(self) -> None:
        """Make all changes, in one step as seen by whoever opens the file."""
        self.check()
        os.fsync(self._handle)
        pages = {at: bytes(page) for at, page in self._pages.items()}
        _write_pending(self._path, self._end, pages)
        self._committed = True
        _apply(self._handle, self._end, pages)
        pending_of(self._path).unlink()

    def roll_back(self) -> None:
        """Forget all changes, unless they are committed: then the journal has them."""
        if self._committed:
            return
        os.ftruncate(self._handle, self._start)
        pending_of(self._path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, changed or not."""
        if not self.closed:
            os.close(self._handle)
        super().close()


def recover(path: Path) -> None:
    """Finish or undo what a killed writer began; only whoever holds the lock may."""
    state = _read_pending(path)
    if state is not None:
        handle = _open(path, os.O_RDWR)
        try:
            _apply(handle, *state)
        finally:
            os.close(handle)
    pending_of(path).unlink(missing_ok=True)


def is_changing(path: Path) -> bool:
    """Whether a journal holds changes that the file may not have, or not all of them."""
    state = _read_pending(path)
    return state is not None and bool(state[1])


def _open(path: Path, how: int) -> int:
    return os.open(path, how | getattr(os, "O_BINARY", 0))


def _read_at(handle: int, count: int, at: int) -> bytes:
    os.lseek(handle, at, os.SEEK_SET)
    return os.read(handle, count)


def _write_at(handle: int, data: bytes | memoryview, at: int) -> int:
    os.lseek(handle, at, os.SEEK_SET)
    return os.write(handle, data)


def _apply(handle: int, end: int, pages: Pages) -> None:
    for at, page in pages.items():
        done = 0
        while done < len(page):
            done += _write_at(handle, page[done:], at + done)
    os.ftruncate(handle, end)
    os.fsync(handle)


def _write_pending(path: Path, end: int, pages: Pages) -> None:
    """The end of the file, the pages that replace others, and a checksum."""
    parts = [_NUMBERS.pack(end, len(pages))]
    for at, page in pages.items():
        parts += [_NUMBERS.pack(at, len(page)), page]
    body = b"".join(parts)
    with write_atomically(pending_of(path)) as file:
        file.write(_MAGIC + _digest(body) + body)


def _read_pending(path: Path) -> tuple[int, Pages] | None:
    file = pending_of(path)
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return None
    head, body = raw[: len(_MAGIC) + 32], raw[len(_MAGIC) + 32 :]
    if head != _MAGIC + _digest(body):
        raise RunError("is a damaged journal, which cannot be restored from; remove it if the run "
                       "beside it opens without", path=file)  # fmt: skip
    end, count = _NUMBERS.unpack_from(body)
    pages, place = {}, _NUMBERS.size
    for _ in range(count):
        at, length = _NUMBERS.unpack_from(body, place)
        place += _NUMBERS.size
        pages[at] = body[place : place + length]
        place += length
    return end, pages


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
