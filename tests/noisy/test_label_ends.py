"""LabelMIEstimator's lower end is below the truth as often as it says, in many small data sets."""

from __future__ import annotations

import numpy as np

from skinfo import LabelMIEstimator


def lower_ends(n_sets, draw):
    ends = []
    for seed in range(n_sets):
        S, y = draw(np.random.default_rng(seed))
        est = LabelMIEstimator(0.5, n_permutations=0, random_state=seed).fit(S, y)
        ends.append(est.bracket_[0])
    return np.array(ends)


def test_rows_without_information_have_a_lower_end_of_0():
    """Predictors tested on rows that they were fitted to gain 0.2 to 0.4 here."""

    def draw(rng):
        return rng.normal(size=(60, 20)), rng.integers(0, 2, size=60)

    assert lower_ends(4, draw).max() < 0.01


def test_the_lower_end_is_widened_by_its_error_over_inputs():
    """Classes far apart, 9:1: I(Y;T) = H(Y), and that of a sample errs by 0.02, or 0.05."""
    truth = -0.1 * np.log(0.1) - 0.9 * np.log(0.9)

    def draw(rng):
        y = (rng.random(1000) < 0.1).astype(int)
        return 40.0 * y[:, None], y

    assert (lower_ends(10, draw) <= truth).all()


def test_the_lower_end_allows_for_wrong_labels_of_which_none_was_drawn():
    """Of classes far apart, one label in a hundred flipped, I(Y;T) is log 2 - h(0.01)."""
    truth = np.log(2) + 0.01 * np.log(0.01) + 0.99 * np.log(0.99)

    def draw(rng):
        y = rng.integers(0, 2, size=100)
        return 40.0 * y[:, None], np.where(rng.random(100) < 0.01, 1 - y, y)

    assert (lower_ends(8, draw) <= truth).all()
