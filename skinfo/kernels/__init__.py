"""Compiled loops: they fill the arrays they are given and check nothing. numba lives here alone."""
