"""The two networks of the paper."""

import numpy as np
import pytest
import torch
from example_files import load_example
from torch import nn

from skinfo.networks import Recorder
from skinfo.szt import make_mlp

from .small_networks import global_state_untouched, outputs_of

make_cnn = load_example("mnist_digits").make_cnn


def test_the_default_network_is_the_one_of_the_paper():
    model = make_mlp()
    assert [name for name, _ in model.named_children()] == [
        "layer1", "layer2", "layer3", "layer4", "layer5", "output",
    ]  # fmt: skip
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    sizes = [linear[0].in_features, *(module.out_features for module in linear)]
    assert sizes == [12, 10, 7, 5, 4, 3, 2]
    assert sum(isinstance(module, nn.Tanh) for module in model.modules()) == 5
    assert isinstance(model.output, nn.Linear)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("tanh", [np.tanh(-1.0), np.tanh(2.0)]),
        ("relu", [0.0, 2.0]),
        ("leaky_relu", [-0.01, 2.0]),
        ("linear", [-1.0, 2.0]),
    ],
)
def test_activations(activation, expected):
    model = make_mlp((2, 2, 1), activation=activation)
    with torch.no_grad():
        model.layer1[0].weight.copy_(torch.eye(2))
        model.layer1[0].bias.zero_()
        np.testing.assert_allclose(model.layer1(torch.tensor([-1.0, 2.0])), expected, rtol=1e-6)


def test_a_network_without_hidden_layers_is_linear():
    model = make_mlp((3, 2))
    assert [name for name, _ in model.named_children()] == ["output"]


def test_weights_are_seeded():
    def weights(seed):
        return nn.utils.parameters_to_vector(make_mlp(random_state=seed).parameters())

    with global_state_untouched():
        assert torch.equal(weights(3), weights(3))
        assert not torch.equal(weights(3), weights(4))


def test_bad_networks_are_refused():
    with pytest.raises(ValueError, match="activation is one of tanh, relu, leaky_relu, linear; .*"):
        make_mlp(activation="sigmoid")
    with pytest.raises(ValueError, match="at least an input and an output"):
        make_mlp((3,))


def test_the_convolutional_network_is_the_one_of_the_paper():
    model = make_cnn()
    assert [(type(m).__name__, tuple(m.weight.shape)) for m in model.modules()
            if isinstance(m, nn.Conv2d | nn.Linear)] == [
        ("Conv2d", (16, 1, 5, 5)), ("Conv2d", (32, 16, 5, 5)), ("Linear", (128, 1568)),
        ("Linear", (10, 128)),
    ]  # fmt: skip
    for name in ("conv1", "conv2", "fc"):
        kinds = [type(m).__name__.rstrip("12d") for m in getattr(model, name)][1:]
        assert kinds == ["BatchNorm", "Tanh"]
    outputs = dict(outputs_of(model.eval(), torch.zeros(2, 1, 28, 28)))
    assert outputs["conv1"].shape == (2, 16, 28, 28)
    assert outputs["conv2"].shape == (2, 32, 14, 14)
    assert outputs["output"].shape == (2, 10)


def test_weights_of_the_convolutional_network_are_xavier_uniform_and_seeded():
    before = torch.random.get_rng_state()
    model, other = make_cnn(random_state=1), make_cnn(random_state=2)
    same = make_cnn(random_state=1, dropout=0.2)
    assert torch.equal(before, torch.random.get_rng_state())
    for layer, fans in (("conv1", 25 * 17), ("conv2", 25 * 48), ("fc", 1568 + 128)):
        weight, bound = getattr(model, layer)[0].weight, (6 / fans) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
        assert torch.equal(weight, getattr(same, layer)[0].weight)
        assert not torch.equal(weight, getattr(other, layer)[0].weight)
        assert not getattr(model, layer)[0].bias.any()


def test_noise_of_the_convolutional_network_comes_before_the_maximum():
    """So that the maximum of four is raised by it; dropout sits in the same place."""
    model, x = make_cnn(8).eval(), torch.zeros(64, 1, 8, 8)
    recorder = Recorder(
        model, ["conv1", "pool1"], sigma={"conv1": 0.1}, n_replicas=8, flatten="all"
    )
    with recorder.record(x) as arrays:
        assert not np.array(arrays["conv1"]).any()
        # The largest of four standard normal numbers is 1.0294 on average.
        assert np.mean(arrays["pool1"]) == pytest.approx(0.10294, rel=0.01)
    dropping = make_cnn(8, dropout=0.5)
    assert [type(m).__name__ for m in dropping.fc][-2:] == ["Tanh", "Dropout"]


@pytest.mark.parametrize("side", [0, 2, 30])
def test_sides_that_cannot_be_halved_twice_are_refused(side):
    with pytest.raises(ValueError, match="multiple of 4"):
        make_cnn(side)
