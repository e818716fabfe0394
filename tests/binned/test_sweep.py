"""The sweep over widths: every line is what the estimator gives."""

import numpy as np
import pandas as pd
import pytest

from skinfo import BinningMIEstimator, binning_sweep

POWERS_OF_2 = (2.0 ** np.arange(-12, 4)).tolist()
POWERS_OF_10 = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
MIXED = [0.3, 0.1, 0.7, 0.2, 1.1, 0.05, 2.1]
COLUMNS = [
    "bin_width", "binned_entropy", "binned_mutual_info", "binned_label_mutual_info", "n_occupied",
    "binned_ceiling", "unit", "notes",
]  # fmt: skip


def one_by_one(X, y, widths, units="nats", correction=None, **options):
    lines = []
    for width in widths:
        est = BinningMIEstimator(bin_width=width, correction=correction, units=units)
        est.fit(X, y, **options)
        label = np.nan if y is None else est.label_mutual_info_
        lines.append([width, est.entropy_, est.mutual_info_, label, est.n_occupied_, est.ceiling_,
                      units, "; ".join(est.notes_)])  # fmt: skip
    return pd.DataFrame(lines, columns=COLUMNS)


def same(sweep, expected):
    pd.testing.assert_frame_equal(sweep, expected, check_exact=True)


def clustered(rng, n=300, d=3):
    """Rows at all distances of one another, from equal to far."""
    centres = rng.normal(size=(20, d))
    scale = 10 ** rng.uniform(-6, 0, size=(n, 1))
    return np.tanh(centres[rng.integers(0, 20, size=n)] + scale * rng.normal(size=(n, d)))


def test_hand_worked_five_points():
    X, y = [[0.1], [0.2], [0.3], [0.9], [-0.1]], [0, 0, 1, 1, 1]
    sweep = binning_sweep(X, y, bin_widths=[1.0, 0.25, 0.5], units="bits")
    assert list(sweep.columns) == COLUMNS
    assert sweep["bin_width"].tolist() == [1.0, 0.25, 0.5]
    assert sweep["n_occupied"].tolist() == [2, 4, 3]

    def H(*counts):
        return -sum(c / 5 * np.log2(c / 5) for c in counts)

    np.testing.assert_allclose(sweep["binned_entropy"], [H(4, 1), H(2, 1, 1, 1), H(3, 1, 1)])
    joint = [H(2, 2, 1), H(2, 1, 1, 1), H(2, 1, 1, 1)]
    expected = sweep["binned_entropy"] + H(2, 3) - joint
    np.testing.assert_allclose(sweep["binned_label_mutual_info"], expected)
    np.testing.assert_allclose(sweep["binned_ceiling"], np.log2(5))
    assert set(sweep["unit"]) == {"bits"}


@pytest.mark.parametrize("widths", [POWERS_OF_2, POWERS_OF_10, MIXED, POWERS_OF_2[::-1], [0.1]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_line_is_the_estimators_to_the_last_bit(widths, dtype, rng):
    X, y = clustered(rng).astype(dtype), rng.integers(0, 3, size=300)
    same(binning_sweep(X, y, bin_widths=widths), one_by_one(X, y, widths))
    same(binning_sweep(X, bin_widths=widths, units="bits"), one_by_one(X, None, widths, "bits"))


@pytest.mark.filterwarnings("ignore::skinfo.ReplicaWarning")
def test_groups_and_weights(rng):
    X, groups = clustered(rng), np.repeat(np.arange(60), 5)
    y, weight = (groups % 3), (groups % 4).astype(float)
    options = {"groups": groups, "sample_weight": weight}
    sweep = binning_sweep(X, y, bin_widths=POWERS_OF_2, **options)
    same(sweep, one_by_one(X, y, POWERS_OF_2, **options))
    assert sweep["notes"].str.contains("too few replicas").any()
    assert (sweep["binned_mutual_info"] < sweep["binned_entropy"]).any()


@pytest.mark.filterwarnings("ignore::skinfo.ReplicaWarning")
@pytest.mark.parametrize("replicas", [1, 5])
def test_corrected_lines_are_the_estimators_to_the_last_bit(replicas, rng):
    X, groups = clustered(rng), np.repeat(np.arange(300 // replicas), replicas)
    y = groups % 3
    options = {"correction": "miller-madow"} | ({"groups": groups} if replicas > 1 else {})
    sweep = binning_sweep(X, y, bin_widths=POWERS_OF_2, **options)
    same(sweep, one_by_one(X, y, POWERS_OF_2, **options))
    plain = binning_sweep(X, y, bin_widths=POWERS_OF_2)
    np.testing.assert_allclose(
        sweep["binned_entropy"] - plain["binned_entropy"], (plain["n_occupied"] - 1) / 600
    )
    assert sweep["notes"].str.contains("correction beyond bounds").any()


def test_a_correction_that_is_none_or_does_not_fit_is_named():
    X, weights = [[0.5], [1.5], [2.5]], [1, 2, 3]
    with pytest.raises(ValueError, match="'correction' parameter of binning_sweep"):
        binning_sweep(X, bin_widths=[1.0], correction="miller")
    with pytest.raises(ValueError, match="counts rows of equal weight"):
        binning_sweep(X, bin_widths=[1.0], sample_weight=weights, correction="miller-madow")


def test_wider_cells_of_a_chain_never_have_more_entropy(rng):
    sweep = binning_sweep(clustered(rng), bin_widths=POWERS_OF_2)
    assert (np.diff(sweep["binned_entropy"]) <= 1e-12).all()
    assert sweep["binned_entropy"].iloc[0] > 2 * sweep["binned_entropy"].iloc[-1]
    assert (np.diff(sweep["n_occupied"]) <= 0).all()


def test_stuck_widths_are_noted(rng):
    sweep = binning_sweep(rng.uniform(0.1, 1, size=(100, 2)), bin_widths=[1e-9, 0.5, 2.0])
    assert sweep["notes"].tolist() == ["at ceiling", "", "in one cell"]
    assert sweep["binned_entropy"].iloc[0] == pytest.approx(np.log(100))
    assert sweep["binned_entropy"].iloc[2] == 0


def test_the_activations_are_left_as_they_were(rng):
    X = clustered(rng)
    before = X.copy()
    X.flags.writeable = False
    binning_sweep(X, bin_widths=POWERS_OF_2)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("widths", "says"),
    [
        ([], "at least one"),
        (0.1, "list of widths"),
        ([0.1, 0.0], "positive numbers; got 0"),
        ([np.nan], "positive numbers; got nan"),
        ([np.inf, 1.0], "positive numbers; got inf"),
        ([0.1, 1.0, 0.1], "0.1 more than once"),
        ([1.0, 1e-300], "bin_width=1e-300 is too narrow"),
    ],
)
def test_bad_widths_are_named(widths, says):
    with pytest.raises(ValueError, match=says):
        binning_sweep([[0.5], [1.5]], bin_widths=widths)


def test_bad_units_and_activations_are_named():
    with pytest.raises(ValueError, match="'units' parameter of binning_sweep"):
        binning_sweep([[0.5], [1.5]], bin_widths=[1.0], units="hartley")
    with pytest.raises(ValueError, match="(?s)NaN.*row 1, column 0"):
        binning_sweep([[0.5], [np.nan]], bin_widths=[1.0])
