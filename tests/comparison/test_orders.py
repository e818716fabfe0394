"""What curves of a run say at every sigma: planted orders and crossings, and all pairs by hand."""

import re
from itertools import combinations, permutations, product

import numpy as np
import pandas as pd
import pytest

from skinfo import open_run, sigma_curves
from skinfo.comparison import orders_over_sigmas
from skinfo.errors import names_apart

from reference import line_truth

SIGMAS = [0.25, 0.5, 1.0, 2.0]


def table_of(
    lower, upper, *, layers=None, epoch=1, quantity="mutual_info", sigmas=None, unit="nats"
):
    """Curves with given brackets, of shape (n_layers, n_sigmas)."""
    n, k = np.shape(lower)
    layers = [f"layer{i}" for i in range(n)] if layers is None else layers
    sigmas = [float(2**j) for j in range(k)] if sigmas is None else sigmas
    return pd.DataFrame({
        "epoch": epoch, "layer": np.repeat(layers, k), "estimator": "noisy",
        "sigma": np.tile(sigmas, n), "quantity": quantity,
        "value": (np.ravel(lower) + np.ravel(upper)) / 2, "stderr": 0.0, "lower": np.ravel(lower),
        "upper": np.ravel(upper), "unit": unit, "notes": "",
    })  # fmt: skip


def said(line):
    """Take a line apart: pairs in order, and the sigmas at which it says they are, as a range."""
    where, _, order = line.partition(": ")
    sigmas = re.search(r"from ([\d.]+) to ([\d.]+)$", where) or re.search(r"σ (([\d.]+))$", where)
    links = [link.split(", ") for link in order.split(" > ")]
    pairs = [pair for links in combinations(links, 2) for pair in product(*links)]
    return pairs, *map(float, sigmas.groups()[:2])


def test_less_of_the_same_is_below_at_every_sigma():
    # By data processing: noise on half the activations is twice the noise.
    S = np.linspace(-2, 2, 12)[:, None] ** 3
    run = open_run({(1, "half"): S / 2, (1, "whole"): S, (1, "tenth"): S / 10},
                   layers=["half", "whole", "tenth"], labels=np.arange(12) // 6)  # fmt: skip
    table = sigma_curves(run, sigmas=SIGMAS, progress=False)
    assert orders_over_sigmas(table) == [
        "I(X;T) at all 4 σ from 0.25 to 2: whole > half > tenth",
        "I(Y;T) at all 4 σ from 0.25 to 2: whole > half > tenth",
    ]
    # In their own units all three are one.
    own = sigma_curves(run, sigmas=SIGMAS, unit="rms", progress=False)
    assert orders_over_sigmas(own) == [
        "I(X;T): nothing is told apart at any σ", "I(Y;T): nothing is told apart at any σ"
    ]  # fmt: skip


def test_a_planted_crossing_is_where_quadrature_has_it():
    groups, even = np.repeat([-4.0, 4.0], 6), np.linspace(-2, 2, 12)
    run = open_run({(1, "groups"): groups[:, None], (1, "even"): even[:, None]},
                   layers=["groups", "even"])  # fmt: skip
    sigmas = [0.1, 0.5, 2.0, 8.0]
    truth = [
        np.sign(line_truth("additive", s, groups)[0] - line_truth("additive", s, even)[0])
        for s in sigmas
    ]
    assert truth == [-1, -1, 1, 1]
    assert orders_over_sigmas(sigma_curves(run, sigmas=sigmas, progress=False)) == [
        "I(X;T): groups and even cross between σ 0.5 and 2; even > groups at 2 σ from 0.1 to 0.5; "
        "groups > even at 2 σ from 2 to 8"
    ]


@pytest.mark.parametrize("seed", range(20))
def test_every_line_is_true_and_what_holds_everywhere_is_said_first(seed):
    rng = np.random.default_rng(seed)
    n, k = rng.integers(2, 7), rng.integers(1, 6)
    middle = rng.normal(size=(n, 1)) + rng.normal(scale=0.3, size=(n, k))
    lower, upper = middle - 0.2, middle + rng.uniform(0, 0.5, size=(n, k))
    unmeasured = rng.random((n, k)) < 0.05
    lower[unmeasured] = upper[unmeasured] = np.nan
    sigmas = [float(2**j) for j in range(k)]
    layers = [f"layer{i}" for i in range(n)]

    def above(one, other):
        """Sigmas at which one is above the other; by hand."""
        a, b = layers.index(one), layers.index(other)
        return {sigmas[j] for j in range(k) if lower[a, j] > upper[b, j] + 1e-3}

    lines = orders_over_sigmas(table_of(lower, upper), most=1000)
    told = set()
    everywhere = []
    for line in lines:
        if "nothing is told" in line:
            assert not any(above(*pair) for pair in permutations(layers, 2))
        elif "cross between" in line:
            one, other = re.search(r"(layer\d) and (layer\d) cross", line).groups()
            assert above(one, other)
            assert above(other, one)
            told |= {(*pair, s) for pair in ((one, other), (other, one)) for s in above(*pair)}
        elif ": and " not in line:
            pairs, first, last = said(line)
            at = {sigma for sigma in sigmas if first <= sigma <= last}
            assert all(at <= above(*pair) for pair in pairs)
            told |= {(*pair, sigma) for pair in pairs for sigma in at}
            everywhere.append(at == set(sigmas))
    # What holds everywhere is said before what holds somewhere, and all is said or counted.
    assert everywhere == sorted(everywhere, reverse=True)
    missing = {
        (one, other) for one, other in permutations(layers, 2)
        if {(one, other, sigma) for sigma in above(one, other)} - told
    }  # fmt: skip
    assert all(above(*pair[::-1]) for pair in missing), "only crossings beyond the first four"
    assert all(
        (*pair, sigma) in told
        for pair in permutations(layers, 2) if above(*pair) == set(sigmas) for sigma in sigmas
    )  # fmt: skip


def test_many_layers_are_a_chain_and_what_is_left_is_counted():
    layers = [f"encoder.layer.{i}.output" for i in range(12)]
    values = np.arange(12.0)[::-1, None] * np.ones(6)
    (line,) = orders_over_sigmas(table_of(values - 0.1, values + 0.1, layers=layers))
    assert line == (
        "I(X;T) of encoder.layer.*.output at all 6 σ from 1 to 32: 0 > 1 > 2 > 3 > 4 > 5 > 6 > 7 > "
        "8 > 9 > 10 > 11"
    )
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 6))
    lines = orders_over_sigmas(table_of(values - 0.1, values + 0.1), most=7)
    assert len(lines) == 8
    assert re.search(r", not listed: \d+ orders of two at some σ, \d+ crossings$", lines[-1])


def test_checkpoints_of_a_layer_are_put_in_order_too():
    early = table_of([[3.0, 2.0], [1.0, 0.5]], [[3.1, 2.1], [1.1, 0.6]], epoch=1)
    late = table_of([[2.0, 1.0], [1.05, 0.5]], [[2.1, 1.1], [1.1, 0.6]], epoch=20)
    table = pd.concat([early, late], ignore_index=True)
    assert orders_over_sigmas(table, across="epoch") == [
        "I(X;T), layer0 at all 2 σ from 1 to 2: epoch 1 > epoch 20",
        "I(X;T), layer1: nothing is told apart at any σ",
    ]
    assert [line.partition(" at ")[0] for line in orders_over_sigmas(table)] == [
        "I(X;T), epoch 1", "I(X;T), epoch 20",
    ]  # fmt: skip


def test_differences_that_single_precision_makes_are_no_order():
    lower = np.array([[2.0], [2.0005]])
    assert "nothing" in orders_over_sigmas(table_of(lower, lower))[0]
    assert "nothing" in orders_over_sigmas(table_of(lower * 1.44, lower * 1.44, unit="bits"))[0]
    lower[1] += 0.001
    assert "layer1 > layer0" in orders_over_sigmas(table_of(lower, lower))[0]


def test_one_layer_has_no_order():
    assert orders_over_sigmas(table_of([[1.0]], [[1.0]])) == []


def test_what_is_no_curves_of_a_run_is_refused():
    table = table_of([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="no curves of a run"):
        orders_over_sigmas(table.drop(columns="sigma"))
    with pytest.raises(ValueError, match="no curves of a run"):
        orders_over_sigmas(table.drop(columns="epoch"))
    with pytest.raises(ValueError, match="across is 'layer' or 'epoch'; got 'sigma'"):
        orders_over_sigmas(table, across="sigma")


@pytest.mark.parametrize(
    ("names", "apart", "pattern"),
    [
        (["a.0.x", "a.1.x"], ["0", "1"], "a.*.x"),
        (["a.0", "a.0.b"], ["0", "0.b"], "a.*"),
        (["h/0/a", "h/0/b", "h/1/a"], ["0/a", "0/b", "1/a"], "h/*"),
        (["layer1", "layer2"], ["layer1", "layer2"], ""),
        (["a.b"], ["a.b"], ""),
        (["x.x", "x.x.x"], ["x", "x.x"], "x.*"),
    ],
)
def test_names_are_told_apart_by_what_they_do_not_share(names, apart, pattern):
    assert names_apart(names) == (apart, pattern)
