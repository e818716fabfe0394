"""Flow tables made by hand and measured, that tests of comparison share."""

import numpy as np
import pandas as pd

from skinfo import BinningMIEstimator, NoisyMIEstimator, information_flow, open_run
from skinfo.quantities import COLUMNS


def row(value, stderr=0.0, lower=np.nan, upper=np.nan, **other):
    """One number of a flow table; epoch 1 of one layer unless said otherwise."""
    cells = {
        "epoch": 1, "layer": "hidden", "estimator": "noisy", "quantity": "mutual_info",
        "value": value, "stderr": stderr, "lower": lower, "upper": upper, "unit": "nats",
        "notes": "",
    }  # fmt: skip
    return cells | other


def flow(*rows, **settings):
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs = settings
    return table


def unread(**other):
    return row(np.nan, np.nan, quantity="", unit="", notes="read error", **other)


def measured(seed, draws=0, sigma=0.4, n_replicas=None, epochs=(1, 10)):
    rng = np.random.default_rng(seed)
    shape = (40, 3) if n_replicas is None else (40, n_replicas, 3)
    arrays = {(e, x): rng.normal(size=shape) for e in epochs for x in ("first", "second")}
    run = open_run(arrays, labels=np.arange(40) % 2, sigma=sigma)
    estimators = {
        "noisy": NoisyMIEstimator(None, tol=0.05, random_state=draws),
        "binned": BinningMIEstimator(bin_width=0.5),
    }
    return information_flow(estimators, run, progress=False), run


def with_settings(estimator, layers=None, **other):
    found = {"estimators": {"noisy": estimator}, **other}
    return found | ({} if layers is None else {"layers": layers})


def kind(name, **parameters):
    """An estimator as a table tells of it."""
    return {"class": name, **parameters}
