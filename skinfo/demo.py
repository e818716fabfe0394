"""The paper's main experiment on one line: train, record, estimate, print, draw."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from skinfo.datasets import make_szt
from skinfo.errors import RunError
from skinfo.estimators import BinningMIEstimator, ClusteringScore, NoisyMIEstimator
from skinfo.flow import information_flow
from skinfo.monitoring.schedule import log_spaced_epochs
from skinfo.networks import Recorder, Trainer, make_mlp
from skinfo.plotting import InformationFlowDisplay, InformationPlaneDisplay, save_figure
from skinfo.runs import Run, RunWriter, open_run
from skinfo.runs.files import write_atomically
from skinfo.tables import collect_panel, write_table

SIGMA = 0.005
HIDDEN = tuple(f"layer{k}" for k in range(1, 6))
N_TRAIN = 3277
# Bins of H(Bin(T)): ten standard deviations of the noise.
BIN_WIDTH = 10 * SIGMA
# With 24 replicas the brackets are wider than this; a smaller one would cost time for nothing.
TOLERANCE = 0.02

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoSettings:
    """What a demo run depends on.

    Attributes
    ----------
    epochs : int
        Training epochs; 10,000 in the paper.
    n_replicas : int
        Noisy passes recorded of every input.
    n_checkpoints : int
        About so many, spread evenly over the logarithm of the epochs.
    seed : int
        Of weights, split, batches, noise and estimates.
    """

    epochs: int = 2000
    n_replicas: int = 24
    n_checkpoints: int = 25
    seed: int = 0


@dataclass(frozen=True)
class DemoResult:
    """What the demo leaves behind.

    Attributes
    ----------
    table : pandas.DataFrame
        The flow table.
    accuracy : float
        Test accuracy at the end.
    table_path, panel_path, plane_path : Path
        Files written.
    seconds : dict of str to float
        Wall time of each part.
    """

    table: pd.DataFrame
    accuracy: float
    table_path: Path
    panel_path: Path
    plane_path: Path
    seconds: dict[str, float]


def run_demo(
    directory: Path, settings: DemoSettings, *, n_jobs: int = 2, progress: Progress
) -> DemoResult:
    """Train the SZT network, record it, measure its information flow, draw the panel.

    What is there already is not done again: a demo that was killed goes on where it stopped.

    Parameters
    ----------
    directory : Path
        Where everything goes.
    settings : DemoSettings
        What to run.
    n_jobs : int
        Threads of the estimates.
    progress : callable
        Called with the part, what is done of it and what there is to do.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _claim(directory, settings)
    seconds: dict[str, float] = {}
    started = time.perf_counter()

    def lap(part: str) -> None:
        nonlocal started
        now = time.perf_counter()
        seconds[part] = now - started
        started = now

    run = record_training(directory, settings, progress)
    lap("train and record")
    estimators = {
        "noisy": NoisyMIEstimator(sigma=None, tol=TOLERANCE, random_state=settings.seed),
        "binned": BinningMIEstimator(bin_width=BIN_WIDTH),
        "clustering": ClusteringScore(),
    }
    table = information_flow(
        estimators,
        run,
        n_jobs=n_jobs,
        memory=str(directory / "estimates"),
        progress=lambda done, total: progress("Estimating", done, total),
    )
    lap("estimate")
    described = {
        "run": asdict(settings),
        "estimators": {name: str(estimator) for name, estimator in estimators.items()},
        "versions": dict(run.versions),
    }
    panel = collect_panel(run, settings=described)
    table_path = directory / "flow.parquet"
    write_table(table_path, table, panel)
    lap("write the table")
    panel_path, plane_path = directory / "panel.png", directory / "plane.png"
    save_figure(InformationFlowDisplay(table, panel).plot().figure_, panel_path, close=True)
    save_figure(InformationPlaneDisplay.from_flow(table).plot().figure_, plane_path, close=True)
    lap("draw")
    accuracy = run.losses[run.epochs[-1]]["test_accuracy"]
    return DemoResult(table, accuracy, table_path, panel_path, plane_path, seconds)


def _claim(directory: Path, settings: DemoSettings) -> None:
    """Note the settings, or check that they are those of the demo that is there."""
    note = directory / "demo.json"
    wanted = asdict(settings)
    if not note.exists():
        if any(directory.iterdir()):
            raise RunError(
                "this directory is not empty and holds no demo; choose another with --output",
                path=directory,
            )
        with write_atomically(note) as file:
            file.write(json.dumps(wanted).encode())
        return
    try:
        there = json.loads(note.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"cannot be read ({error}); remove it", path=note) from error
    if there != wanted:
        raise RunError(
            f"a demo with other settings is there ({there}); choose another --output, or remove it",
            path=directory,
        )


def record_training(directory: Path, settings: DemoSettings, progress: Progress) -> Run:
    """Train the SZT network with noise and record it at log-spaced checkpoints.

    The state of the training is saved at each, so that it can go on from there to the same weights.
    """
    X, y = make_szt()
    train = np.random.default_rng(settings.seed).permutation(len(X))[:N_TRAIN]
    train.sort()
    test = np.setdiff1d(np.arange(len(X)), train)
    sigmas = dict.fromkeys(HIDDEN, SIGMA)
    model = make_mlp(seed=settings.seed)
    trainer = Trainer(model, X[train], y[train], sigmas=sigmas, seed=settings.seed)
    recorder = Recorder(
        model, HIDDEN, sigmas=sigmas, n_replicas=settings.n_replicas, seed=settings.seed
    )
    path = directory / "run"
    writer = RunWriter(
        path, recorder.describe(X), labels=y, train=train, seed=settings.seed,
        settings=asdict(settings),
    )  # fmt: skip
    state = directory / "training.pt"
    if state.exists():
        trainer.load(state)
    checkpoints = log_spaced_epochs(settings.epochs, settings.n_checkpoints)

    def after_epoch(epoch: int) -> None:
        progress("Training", epoch, settings.epochs)
        if epoch not in checkpoints:
            return
        losses = {}
        for part, rows in (("train", train), ("test", test)):
            losses[f"{part}_loss"], losses[f"{part}_accuracy"] = trainer.evaluate(X[rows], y[rows])
        with recorder.record(X) as activations:
            writer.add(epoch, activations, losses=losses)
        with write_atomically(state) as file:
            trainer.save(file)

    trainer.train_until(settings.epochs, after_epoch)
    progress("Training", settings.epochs, settings.epochs)
    return open_run(path)


def layer_summary(table: pd.DataFrame) -> pd.DataFrame:
    """One line a layer at the last epoch: values, standard error, bracket."""
    last = table[table["epoch"] == table["epoch"].max()]
    lines = []
    for layer in dict.fromkeys(last["layer"]):
        rows = last[last["layer"] == layer].set_index(["estimator", "quantity"])
        information = rows.loc[("noisy", "mutual_info")]
        label = rows.loc[("noisy", "label_mutual_info")]
        lines.append(
            {
                "layer": layer,
                "I(X;T)": information["value"],
                "stderr": information["stderr"],
                "lower": information["lower"],
                "upper": information["upper"],
                "I(Y;T)": label["value"],
                "Y lower": label["lower"],
                "Y upper": label["upper"],
                "H(Bin(T))": rows.loc[("binned", "entropy"), "value"],
                "AUC": rows.loc[("clustering", "auc"), "value"],
                "notes": information["notes"],
            }
        )
    return pd.DataFrame(lines)
