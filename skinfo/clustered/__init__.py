"""How activations cluster by class."""
