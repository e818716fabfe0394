"""Binned activations: discrete entropies."""
