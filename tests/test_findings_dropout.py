"""What the page on dropout networks says, by its committed table, and its two mistakes."""

import numpy as np
import pytest
from example_files import load_example
from test_results import PROSE, results

dropout_information = load_example("dropout_mistakes").dropout_information


def column(*values):
    return np.array(values, dtype=float)[:, None]


@pytest.mark.parametrize(
    ("S", "sigma", "truth"),
    [
        (column(1, 2, 3), 0.5, 0.3161640996),
        (column(-2, -1, 1, 2), 0.3, 1.0860202469),
        (column(0, 0, 1, 2), 0.3, 0.8902710791),
    ],
)
def test_without_mistakes_the_formula_gives_what_quadrature_gives(S, sigma, truth):
    found = dropout_information(S, sigma, n_draws=20_000)
    assert found == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize("sigma", [0.25, 1.0])
@pytest.mark.parametrize("s", [0.1, 1.0, 3.0])
def test_each_mistake_adds_what_its_closed_form_says_to_no_information(s, sigma):
    u = sigma * s
    wrong = dropout_information(column(s, s), sigma, covariance=True, n_draws=100_000)
    assert wrong == pytest.approx((u - 1 - np.log(u)) / 2, abs=0.02)
    wrong = dropout_information(np.array([[s, 0.0, 0.0]] * 3), sigma, floor=True)
    per_dead_unit = -np.log(1e-6 * sigma * np.sqrt(2 * np.pi * np.e))
    assert wrong == pytest.approx(2 * per_dead_unit, abs=1e-9)


@pytest.fixture(name="planes", scope="module")
def load():
    return results("dropout_planes", dropout_on="the last hidden layer")


def test_what_is_right_is_below_log_n_and_what_was_published_far_above(planes):
    assert (planes["mutual_info"] <= planes["log_n"] + 1e-4).all()
    assert (planes["lower"] <= planes["mutual_info"] + 1e-6).all()
    assert (planes["published"] > 2 * planes["log_n"]).all()
    assert (planes["published"] >= planes["covariance"] - 1e-6).all()


def test_published_values_of_the_page(planes):
    for network, activation, sigma, in_page in (
        ("fully connected", "softplus", 0.25, "fully connected, softplus, 0.25"),
        ("fully connected", "ReLU", 0.25, "fully connected, ReLU, 0.25"),
        ("fully connected", "ReLU", 1.0, "fully connected, ReLU, 1"),
        ("LeNet", "ReLU", 0.25, "LeNet, ReLU, 0.25"),
    ):
        rows = planes[(planes["network"] == network) & (planes["activation"] == activation)]
        rows = rows[rows["sigma"] == sigma]
        mean = rows.groupby("epoch").mean(numeric_only=True)
        first, last = mean.iloc[0], mean.iloc[-1]
        cells = [
            f"{first['mutual_info']:.2f} to {last['mutual_info']:.2f}",
            f"{last['pattern']:.2f}",
            f"{last['n_patterns']:.0f}",
            f"{last['conditional']:.2f}",
            f"{first['covariance']:.0f} to {last['covariance']:.0f}",
            f"{first['published']:.0f} to {last['published']:.0f}",
        ]
        assert f"| {in_page} | {' | '.join(cells)} |" in PROSE


def test_information_rises_and_falls_with_the_patterns_of_zeros(planes):
    rows = planes[(planes["activation"] == "ReLU") & (planes["sigma"] == 1)]
    mean = rows.groupby("epoch").mean(numeric_only=True).loc[[0, 2, 8]]
    values = "{:.2f} over {:.2f} at epoch 2 and falls to {:.2f}".format(*mean["mutual_info"])
    patterns = "{:.0f}, {:.0f} and {:.0f} different patterns".format(*mean["n_patterns"])
    assert f"it rises from {values}, with {patterns}" in PROSE
    for _, seed in rows.groupby("seed"):
        ends = seed.set_index("epoch")
        assert ends.loc[2, "lower"] > max(ends.loc[8, "upper"], ends.loc[0, "upper"])
    assert mean["label"].iloc[-1] > planes["label"].max() - 0.01


def test_noise_before_a_layer_leaves_a_wide_bracket():
    table = results("dropout_planes", dropout_on="every hidden layer").set_index("layer")
    said = " and ".join(
        f"{table.loc[k, 'lower']:.1f} to {table.loc[k, 'upper']:.2f}" for k in ("fc2", "fc3")
    )
    assert f"the brackets of I(X;T) are {said}" in PROSE
    assert table.loc["fc1", "n_patterns"] == table.loc["fc1", "n"]
