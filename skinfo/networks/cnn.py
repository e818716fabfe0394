"""The paper's convolutional network."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from skinfo.networks.running import seeded


def make_cnn(
    side: int = 28, *, dropout: float = 0.0, random_state: int | None = 0
) -> nn.Sequential:
    """Make the paper's convolutional network for digits.

    Two convolutions of 16 and 32 channels, 5 x 5 pixels with padding 2, each followed by a halving
    maximum; a fully connected layer of 128 units; ten class scores. Batch normalisation and tanh in
    all but the last. It has no noise of its own: give ``{"conv1": sigma, "conv2": sigma, "fc":
    sigma}`` to :class:`Trainer` and :class:`Recorder`, and the noise is where the paper has it,
    after tanh and before the maximum.

    Parameters
    ----------
    side : int, default=28
        Height and width of the images, a multiple of 4.
    dropout : float, default=0
        Probability with which units are left out, where the noise would be.
    random_state : int or None, default=0
        Seed of the weights, Xavier-uniform with biases of 0; torch's global generator is left
        alone.

    Returns
    -------
    torch.nn.Sequential
        Takes (n, 1, side, side); submodules "conv1", "pool1", "conv2", "pool2", "flatten", "fc",
        "output".

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, section 5.

    Examples
    --------
    >>> import torch
    >>> from skinfo.networks import make_cnn
    >>> make_cnn()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if side < 4 or side % 4:
        raise ValueError(f"side is halved twice and must be a multiple of 4; got {side}.")

    def layer(linear: nn.Module, norm: nn.Module) -> nn.Sequential:
        return nn.Sequential(linear, norm, nn.Tanh(), *([nn.Dropout(dropout)] if dropout else []))

    with seeded(random_state):
        model = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv1=layer(nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16)),
                pool1=nn.MaxPool2d(2),
                conv2=layer(nn.Conv2d(16, 32, 5, padding=2), nn.BatchNorm2d(32)),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc=layer(nn.Linear(2 * side**2, 128), nn.BatchNorm1d(128)),
                output=nn.Linear(128, 10),
            )
        )
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model
