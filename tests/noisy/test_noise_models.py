"""Whole estimates with every model of the noise, against quadrature and closed forms."""

import numpy as np
import pytest

import reference

#: Noise, its parameter, equally likely rows of one unit, and I(X;T) in nats to ten digits.
VALUES = [
    ("multiplicative", 0.1, (1, 2, 3), 1.0569770123),
    ("multiplicative", 0.3, (1, 2, 3), 0.5415799937),
    ("multiplicative", 0.5, (1, 2, 3), 0.3161640996),
    ("multiplicative", 0.3, (-2, -1, 1, 2), 1.0860202469),
    ("multiplicative", 1.0, (-2, -1, 1, 2), 0.4528073649),
    ("multiplicative", 0.25, (0.5, 1, 2, 4, 8), 1.2522312846),
    ("multiplicative", 0.3, (1, 2), 0.3942477970),
    ("multiplicative", 0.3, (0, 0, 1, 2), 0.8902710791),
    ("multiplicative", 0.7, (0, 3), np.log(2)),
    ("multiplicative", 0.5, (-3, 3), 0.632720193737),
    ("multiplicative", 0.5, (2, 2, 2), 0.0),
    ("affine", (0.2, 0.3), (0, 1, 2), 0.7981178210),
    ("affine", (0.2, 0.3), (2, 2), 0.0),
    ("per row", (1, 2), (0, 0), 0.0927333817),
    ("per row", (1, 10), (0, 0), 0.4333107188),
    ("per row", (1, 0.5), (-1, 1), 0.4743074112),
    ("lognormal", 0.5, (np.exp(-1), 1, np.e), 0.6191444851),
    ("lognormal", 0.5, (-1, 1, np.e), 0.8610680485),
    ("lognormal", 0.5, (-2, -2), 0.0),
    ("additive", 0.5, (-1, 1), 0.632720193737),
]
on_every_value = pytest.mark.parametrize(("noise", "sigma", "rows", "information"), VALUES)


@on_every_value
def test_the_oracle_gives_every_digit(noise, sigma, rows, information):
    found = reference.line_truth(noise, sigma, rows)[0]
    assert found == pytest.approx(information, abs=5.1e-11)
