"""The noisy channel: information and entropy of activations with Gaussian noise."""
