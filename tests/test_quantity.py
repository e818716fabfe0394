"""A number keeps its unit: what is converted there and back is what it was, nothing else passes."""

import pytest

from skinfo.quantities import Quantity, nats_to


def test_bits_become_nats_again():
    bits = Quantity("mutual_info", 1.0, 0.5, 0.0, 2.0, unit="bits")
    nats = bits.in_units("nats")
    assert nats.unit == "nats"
    found = [nats.value, nats.stderr, nats.lower, nats.upper]
    assert found == pytest.approx([0.6931471806, 0.3465735903, 0.0, 1.3862943611])
    assert nats.in_units("bits") == bits


def test_what_is_no_unit_of_information_is_refused():
    with pytest.raises(ValueError, match="'nats' or 'bits'; got 'foo'"):
        nats_to("foo")
    with pytest.raises(ValueError, match="'nats' or 'bits'; got 'hartley'"):
        Quantity("mutual_info", 1.0).in_units("hartley")


def test_pure_numbers_have_no_unit_to_convert():
    share = Quantity.exact("binned_entropy_share", 0.5, "")
    assert share.in_units("bits") is share
