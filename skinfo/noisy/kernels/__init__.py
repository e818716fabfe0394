"""Compiled loops of the noisy channel."""
