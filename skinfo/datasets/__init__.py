"""Data sets of the field: made by their formulas, and real digits."""

from skinfo.datasets.digits import Digits, load_mnist
from skinfo.datasets.formulas import make_constellation, make_spiral, make_szt

__all__ = ["Digits", "load_mnist", "make_constellation", "make_spiral", "make_szt"]
