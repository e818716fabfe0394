"""The SZT network of the demo at any epochs, recorded and measured."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo._files import write_atomically
from skinfo.datasets import make_szt
from skinfo.networks import Recorder
from skinfo.szt import HIDDEN, N_TRAIN, SIGMA, Trainer, make_mlp


@contextmanager
def kept_or_temporary(directory: Path | None) -> Iterator[Path]:
    """A directory for the states of the training: the one named, or a temporary one."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="skinfo-") as temporary:
        yield Path(temporary)


def checkpoints(epochs: Sequence[int], directory: Path) -> Iterator[tuple[int, nn.Module]]:
    """Yield the network after each of these epochs, bit for bit that of ``skinfo demo``.

    Epochs whose states are in ``directory`` are not trained again.
    """
    X, y = make_szt()
    train = np.sort(np.random.default_rng(0).permutation(len(X))[:N_TRAIN])
    model = make_mlp(random_state=0)
    sigma = dict.fromkeys(HIDDEN, SIGMA)
    trainer = Trainer(model, X[train], y[train], sigma=sigma, random_state=0)
    for epoch in epochs:
        state = directory / f"epoch_{epoch:05d}.pt"
        if state.exists():
            trainer.load(state)
        else:
            trainer.train_until(epoch)
            with write_atomically(state) as file:
                trainer.save(file)
        yield epoch, model


def recorder(model: nn.Module, n_replicas: int, random_state: int = 0) -> Recorder:
    """Record the five hidden layers with the noise of their training."""
    return Recorder(model, HIDDEN, sigma=SIGMA, n_replicas=n_replicas, random_state=random_state)


def flow_of(
    epoch: int, arrays: Mapping[str, np.ndarray], *, tol: float, n_jobs: int
) -> pd.DataFrame:
    """The flow table of one recorded checkpoint: information of all layers, with brackets."""
    source = {(epoch, layer): array for layer, array in arrays.items()}
    run = open_run(source, labels=make_szt()[1], sigma=SIGMA)
    estimator = NoisyMIEstimator(sigma=None, tol=tol, random_state=0)
    return information_flow(estimator, run, n_jobs=n_jobs, progress=False)
