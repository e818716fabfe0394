"""Data sets of the field, made by their formulas, and laws with known information."""

from skinfo.datasets.formulas import make_constellation, make_spiral, make_szt

__all__ = ["make_constellation", "make_spiral", "make_szt"]
