"""Formats: where the arrays of a run lie."""
