"""Threads: the same bits for any number of them, and no more of them than were asked for."""

import threading

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_info, threadpool_limits

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    information_flow,
    open_run,
)
from skinfo._numba import in_order, slices_of
from skinfo.quantities import Quantity

N_JOBS = (1, 2, 4)


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def assert_equal_bits(found):
    for name, first in found[0].items():
        for other in found[1:]:
            np.testing.assert_array_equal(other[name], first, err_msg=name, strict=True)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("population", [False, True])
@pytest.mark.parametrize("d", [1, 3, 40])
def test_the_same_bits_for_any_number_of_threads(d, population, grouped, rng):
    """More draws and points than a slice holds, so that there is something to share out."""
    X, groups = rng.normal(size=(150, d)), np.arange(150) // 3
    fresh = rng.normal(size=(1600, d))
    found = []
    for n_jobs in N_JOBS:
        est = NoisyMIEstimator(
            0.4 * np.sqrt(d), population=population, max_evaluations=2**12,
            pairwise_bounds=not grouped, n_jobs=n_jobs, random_state=0,
        ).fit(X, groups % 3, groups=groups if grouped else None)  # fmt: skip
        numbers = {q.name: [q.value, q.stderr, q.lower, q.upper] for q in est.quantities_}
        numbers["stderr_inputs_"] = est.stderr_inputs_
        numbers["score"] = est.score(fresh)
        numbers["score_samples"] = est.score_samples(fresh)
        found.append(numbers)
    assert len(found[0]) == (12 if grouped else 14) + 4 * population
    assert_equal_bits(found)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_same_bits_for_any_threads_of_linear_algebra_and_in_any_thread(dtype, rng):
    X, y = rng.normal(size=(150, 120)).astype(dtype), np.arange(150) % 3

    def numbers():
        settings = {"population": True, "max_evaluations": 2**10, "random_state": 0}
        fits = [
            NoisyMIEstimator(4.0, **settings).fit(X, y),
            ClusteringScore(measures="all").fit(X, y),
        ]
        return {q.name: [q.value, q.stderr, q.lower, q.upper] for f in fits for q in f.quantities_}

    found = []
    for n_threads in (1, 2, 3):
        with threadpool_limits(n_threads, user_api="blas"):
            found.append(numbers())
            found += Parallel(n_jobs=3, prefer="threads")([delayed(numbers)()] * 3)
            assert blas_threads() == {n_threads}
    assert_equal_bits(found)


def test_the_same_table_for_any_number_of_threads(rng):
    labels = np.arange(60) % 3
    layers = {(epoch, name): rng.normal(size=(60, 4)) for epoch in (1, 2) for name in "ab"}
    run = open_run(layers, labels=labels, sigma=0.8)
    estimators = [
        NoisyMIEstimator(None, random_state=0, n_jobs=2),
        BinningMIEstimator(n_bins=4),
        ClusteringScore(),
    ]
    tables = [information_flow(estimators, run, n_jobs=n_jobs) for n_jobs in N_JOBS]
    assert tables[0]["estimator"].nunique() == 3
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


class BlasSpy(BaseEstimator):
    """Reports with how many threads linear algebra would run."""

    def fit(self, X, y=None, *, groups=None):  # noqa: ARG002
        self.quantities_ = tuple(Quantity.exact("threads", n, "") for n in blas_threads())
        return self


@pytest.mark.parametrize("n_jobs", N_JOBS)
def test_linear_algebra_has_one_thread_in_every_worker(n_jobs):
    run = open_run({(epoch, "a"): np.eye(4) for epoch in range(1, 9)}, sigma=0.5)
    with threadpool_limits(3, user_api="blas"):
        table = information_flow(BlasSpy(), run, n_jobs=n_jobs)
        assert blas_threads() == {3}
    assert table["value"].tolist() == [1.0] * 8


@pytest.mark.parametrize("n_jobs", N_JOBS)
def test_slices_cover_everything_once_in_so_many_threads(n_jobs):
    counts, threads = np.zeros(5000), set()

    def work(part):
        counts[part] += 1
        threads.add(threading.get_ident())

    list(in_order(work, slices_of(5000), n_jobs))
    assert (counts == 1).all()
    assert len(threads) <= n_jobs


def test_workers_do_not_multiply():
    """A measure inside a worker shares its work out only where it was told to."""

    def inner():
        threads = set()
        list(in_order(lambda _: threads.add(threading.get_ident()), slices_of(5000), None))
        return threads == {threading.get_ident()}

    assert all(Parallel(n_jobs=4, prefer="threads")(delayed(inner)() for _ in range(8)))
