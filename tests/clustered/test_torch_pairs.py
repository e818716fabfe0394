"""Pairs that torch counts, on the processor here, are those of the compiled kernels."""

import numpy as np
import pytest

from skinfo import ClusteringScore, _torch

torch = pytest.importorskip("torch")
from torch_modes import LiveBytes, PretendedGpu  # noqa: E402

BY_TORCH = "torch:cpu"


def fit(X, y, device, metric="euclidean", measures=(), **known):
    est = ClusteringScore(metric=metric, measures=measures, device=device)
    return est.fit(X, y, **known)


def assert_same(found, expected):
    for one, other in zip(found.quantities_, expected.quantities_, strict=True):
        assert (one.name, one.notes) == (other.name, other.notes)
        numbers = [
            [q.value, q.stderr, q.lower, q.upper, q.stderr_other_inputs] for q in (one, other)
        ]
        np.testing.assert_allclose(*numbers, rtol=1e-9, atol=1e-12, err_msg=one.name)
    for name in ("within_histogram_", "between_histogram_", "class_distances_"):
        one, other = getattr(found, name), getattr(expected, name)
        for key in other if isinstance(other, dict) else [...]:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-9, atol=1e-9, err_msg=name)


CASES = {
    "classes": {},
    "cosine": {"metric": "cosine"},
    "replicas": {"groups": np.arange(300) // 3},
    "weights": {"sample_weight": 1.0 + np.arange(300) % 5},
    "sets": {"y": {"fine": np.arange(300) // 5 % 30, "coarse": np.arange(300) // 5 % 2}},
    "lattice": {},
    "far away": {},
}


@pytest.mark.parametrize("case", CASES)
def test_pairs_are_those_of_the_compiled_kernels(case, rng):
    X, y = rng.normal(size=(300, 6)), np.arange(300) // 3 % 4
    if case == "lattice":
        # Distances tie, and differences decide.
        X = X.round(1)[:, :2]
    if case == "far away":
        # Two clusters far narrower than they lie apart: products cancel.
        X = 1e6 + 1e5 * (y % 2)[:, None] + X
    known = {"y": y} | CASES[case]
    assert_same(*(fit(X, device=device, **known) for device in (BY_TORCH, None)))


@pytest.mark.parametrize("most", [0, 20_000])
def test_tiles_of_any_size_give_the_same_within_the_memory(most, rng, monkeypatch):
    """Histograms alone, and ranked distances."""
    monkeypatch.setattr("skinfo.clustered.distances.MOST_RANKED_PAIRS", most)
    X, y = rng.normal(size=(200, 40)), np.arange(200) % 3
    expected = fit(X, y, None)
    for scratch in (2**15, 2**18, 2**30):
        monkeypatch.setattr(_torch, "SCRATCH", {"cpu": scratch})
        with LiveBytes() as seen:
            found = fit(X, y, BY_TORCH)
        assert_same(found, expected)
        # Tables of cells, the rows, and what is ranked.
        kept = 2**18 + X.nbytes + 24 * most
        assert seen.most < scratch + kept


def test_the_area_is_that_of_counted_pairs(rng):
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
    X[y == 1] += 0.7
    found = fit(X, y, BY_TORCH)
    apart = np.linalg.norm(X[:, None] - X, axis=2)
    i, j = np.triu_indices(40, k=1)
    within, between = (apart[i, j][(y[i] == y[j]) == same] for same in (True, False))
    wins = (between[:, None] > within).mean() + (between[:, None] == within).mean() / 2
    assert found.auc_ == pytest.approx(wins, abs=1e-12)
    assert found.within_mean_ == pytest.approx(within.mean(), rel=1e-12)


def test_tensors_are_measured_as_their_numbers(rng):
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 3
    expected = fit(X, y, None, measures="all")
    tensors = torch.tensor(X, requires_grad=True), torch.tensor(y)
    assert fit(*tensors, None, measures="all").quantities_ == expected.quantities_
    assert_same(fit(*tensors, BY_TORCH, measures="all"), expected)
    scores = [ClusteringScore(device=d).fit(X, y).score(*tensors) for d in (None, BY_TORCH)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-12)
    with pytest.raises(ValueError, match='device="mps" has no double precision'):
        fit(X, y, "mps")


def test_activations_on_a_gpu_are_paired_there(rng):
    """On a pretended one, which refuses what a GPU refuses."""
    X, y, groups = rng.normal(size=(90, 3)), np.arange(90) // 3 % 3, np.arange(90) // 3
    weights = 1.0 + y
    expected = fit(X, y, None, groups=groups, sample_weight=weights)
    with PretendedGpu() as gpu:
        given = [torch.as_tensor(v, device="cuda") for v in (X, y, groups, weights)]
        found = fit(*given[:2], None, groups=given[2], sample_weight=given[3])
        assert gpu.products > 0
    assert_same(found, expected)
