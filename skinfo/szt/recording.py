"""The SZT network of the paper and its variants, trained and recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from skinfo._files import write_atomically
from skinfo.datasets import make_szt
from skinfo.monitoring import log_spaced_epochs
from skinfo.networks import Recorder
from skinfo.noise import make_noise
from skinfo.runs import Run, RunWriter, open_run
from skinfo.szt.training import Trainer, make_mlp

#: Standard deviation of the noise in the paper.
SIGMA = 0.005
#: That of noise in proportion to the activations, where none is given: the network learns with it.
DROPOUT_SIGMA = 0.2
#: The hidden layers.
HIDDEN = tuple(f"layer{k}" for k in range(1, 6))
#: Number of the 4,096 inputs that the network is trained on.
N_TRAIN = 3277

#: Called with the name of a part of the work, its steps done and its steps in total.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SztSettings:
    """Settings of a recorded training of the SZT network.

    Attributes
    ----------
    epochs : int
        Training epochs; 10,000 in the paper.
    n_replicas : int
        Noisy passes per input.
    n_checkpoints : int
        Approximate number of checkpoints, evenly spaced in the logarithm of the epochs.
    random_state : int
        Seed of weights, split, batches, noise and estimates.
    sigma : float
        Standard deviation of the noise on every hidden layer; 0 for none.
    noise : str
        Which noise; see :func:`skinfo.noise.make_noise`.
    activation : str
        Activation of the hidden layers: "tanh", "relu", "leaky_relu" or "linear".
    parseval : float
        Strength of the orthonormal regularisation.
    shuffle_labels : bool
        Whether the network is trained on a random permutation of the labels.

    Raises
    ------
    ValueError
        For an unknown noise, and a sigma that it does not take.

    Examples
    --------
    >>> from skinfo.szt import SztSettings
    >>> SztSettings(epochs=10_000, parseval=1e-3).sigma
    0.005
    """

    epochs: int = 2000
    n_replicas: int = 24
    n_checkpoints: int = 25
    random_state: int = 0
    sigma: float = SIGMA
    noise: str = "additive"
    activation: str = "tanh"
    parseval: float = 0.0
    shuffle_labels: bool = False

    def __post_init__(self) -> None:
        if self.sigma != 0:
            make_noise(self.noise, self.sigma)


def record_training(
    directory: Path, settings: SztSettings, progress: Progress | None = None
) -> Run:
    """Train the SZT network and record it at log-spaced checkpoints.

    The state of the training is saved at each of them, so that an interrupted training continues
    from the last one, to the same weights as without the interruption.

    Parameters
    ----------
    directory : Path
        An existing directory, to which the run and the state of the training are written.
    settings : SztSettings
        The network, its training and its recording.
    progress : callable, optional
        Called after every epoch with "Training", the epoch and the last one.

    Returns
    -------
    Run
        Activations of the five hidden layers, shaped (4096, n_replicas, n_units).

    Raises
    ------
    RunError
        If the directory holds the run of other settings.

    References
    ----------
    Goldfeld et al., ICML 2019, Section 5: the network, its noise and its training.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skinfo.szt import SztSettings, record_training
    >>> settings = SztSettings(epochs=2, n_replicas=2, n_checkpoints=2)
    >>> run = record_training(Path(tempfile.mkdtemp()), settings)
    >>> run.epochs, run.load(2, "layer5").array.shape
    ([1, 2], (4096, 2, 3))
    """
    X, y = make_szt()
    train = np.random.default_rng(settings.random_state).permutation(len(X))[:N_TRAIN]
    train.sort()
    test = np.setdiff1d(np.arange(len(X)), train)
    sigma = dict.fromkeys(HIDDEN, settings.sigma)
    model = make_mlp(activation=settings.activation, random_state=settings.random_state)
    trainer = Trainer(
        model, X[train], y[train], sigma=sigma, noise=settings.noise, parseval=settings.parseval,
        shuffle_labels=settings.shuffle_labels, random_state=settings.random_state,
    )  # fmt: skip
    recorder = Recorder(
        model,
        HIDDEN,
        sigma=sigma,
        noise=settings.noise,
        n_replicas=settings.n_replicas,
        random_state=settings.random_state,
    )
    writer = RunWriter(
        directory / "run", recorder.describe(X), labels=y, train=train,
        seed=settings.random_state, settings=asdict(settings),
    )  # fmt: skip
    parts = {"train": (X[train], y[train]), "test": (X[test], y[test])}
    checkpoints = log_spaced_epochs(settings.epochs, settings.n_checkpoints)
    return train_and_record(directory, trainer, recorder, writer, X, parts, checkpoints, progress)


def train_and_record(
    directory: Path,
    trainer: Trainer,
    recorder: Recorder,
    writer: RunWriter,
    X: np.ndarray,
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    checkpoints: Sequence[int],
    progress: Progress | None,
) -> Run:
    """Train to the last checkpoint and record X at each, with the losses of parts of the data.

    The state of the training is saved at each of them: an interrupted training continues there.
    """
    report = progress or (lambda *_: None)
    state, last = directory / "training.pt", checkpoints[-1]
    if state.exists():
        trainer.load(state)

    def after_epoch(epoch: int) -> None:
        report("Training", epoch, last)
        if epoch not in checkpoints:
            return
        losses = {}
        for part, (inputs, labels) in parts.items():
            losses[f"{part}_loss"], losses[f"{part}_accuracy"] = trainer.evaluate(inputs, labels)
        with recorder.record(X) as activations:
            writer.add(epoch, activations, losses=losses)
        with write_atomically(state) as file:
            trainer.save(file)

    trainer.train_until(last, after_epoch)
    report("Training", last, last)
    return open_run(directory / "run")
