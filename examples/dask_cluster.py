"""One sweep on a cluster: the same table as on one machine.

A small run is written to disk, two worker processes are started, and inside
``joblib.parallel_config("dask")`` the same call that runs on one machine runs on them. They open
the run by its path, so on a real cluster the run and the directory of ``memory`` must lie where all
machines can read them; give the client the address of the scheduler.

    python examples/dask_cluster.py             # needs pip install 'skinfo[dask]'
"""

import tempfile

import joblib
import numpy as np
import pandas as pd
from dask.distributed import Client, LocalCluster

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator, information_flow, open_run
from skinfo.runs import Layer, RunWriter

EPOCHS = (1, 10, 100, 1000)


def write_run(path: str) -> None:
    """Classes that move apart in two layers with noise, eight replicas of each input."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    layers = [Layer("hidden", sigma=0.1), Layer("output", sigma=0.1, noise_before=True)]
    writer = RunWriter(path, layers, labels=labels)
    for epoch in EPOCHS:
        own = rng.normal(size=(300, 1, 3)) + np.log(epoch) * np.eye(3)[labels][:, None]
        replicas = own + 0.1 * rng.normal(size=(300, 8, 3))
        writer.add(epoch, {"hidden": np.tanh(own[:, 0]), "output": np.tanh(replicas)})


def main() -> None:
    """Measure on one machine and on the cluster, compare, print I(X;T)."""
    estimators = [
        NoisyMIEstimator(sigma=None, random_state=0),
        BinningMIEstimator(bin_range="run"),
        ClusteringScore(),
    ]
    with tempfile.TemporaryDirectory() as path:
        write_run(path)
        run = open_run(path)
        local = information_flow(estimators, run, n_jobs=2)
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster),
            joblib.parallel_config("dask"),
        ):
            remote = information_flow(estimators, run, memory=f"{path}/estimates")
    pd.testing.assert_frame_equal(local, remote, check_exact=True)
    information = remote[remote["quantity"] == "mutual_info"]
    noisy = information[information["estimator"] == "NoisyMIEstimator"]
    print(noisy.pivot(index="epoch", columns="layer", values="value").round(3))
    print("\nThe cluster's table is the same, to the last bit.")


if __name__ == "__main__":
    main()
