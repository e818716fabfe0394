"""Noise on layers: as a module, and by hooks."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from skinfo.networks import GaussianNoise, Recorder, noisy_layers
from skinfo.szt import Trainer, make_mlp

from .small_networks import (
    SIGMAS,
    SIZES,
    Breaking,
    BrokenError,
    close_to_std,
    global_state_untouched,
    hooks,
    images,
    make_conv_net,
    outputs_of,
    recorded,
)


def test_noise_is_added_in_training_only():
    noise, x = GaussianNoise(0.3), torch.full((200, 500), 2.0)
    added = noise(x) - x
    assert added.std().item() == close_to_std(0.3, x.numel())
    assert abs(added.mean().item()) < 5 * 0.3 / np.sqrt(x.numel())
    assert not torch.equal(noise(x), noise(x))
    noise.eval()
    assert torch.equal(noise(x), x)


def test_active_decides_over_the_mode():
    noise, x = GaussianNoise(0.3), torch.zeros(10, 10)
    noise.active = False
    assert torch.equal(noise(x), x)
    noise.eval()
    noise.active = True
    assert noise(x).abs().min() > 0


def test_sigma_zero_adds_no_noise():
    x = torch.randn(3, 3)
    assert torch.equal(GaussianNoise(0)(x), x)


@pytest.mark.parametrize("sigma", [-0.1, float("nan")])
def test_a_noise_module_refuses_wrong_standard_deviations(sigma):
    with pytest.raises(ValueError, match="sigma is a standard deviation and must be >= 0"):
        GaussianNoise(sigma)


def test_a_noise_module_draws_from_its_generator():
    noise, x = GaussianNoise(0.3), torch.zeros(10, 10)
    noise.generator = torch.Generator().manual_seed(4)
    with global_state_untouched():
        first = noise(x)
        noise.generator.manual_seed(4)
        assert torch.equal(noise(x), first)


def test_named_layers_of_a_conv_net_get_noise_and_no_others():
    model, x = make_conv_net(), images()
    clean = outputs_of(model, x)
    sigmas, generator = {"features.conv": 0.3, "head.0": 0.05}, torch.Generator().manual_seed(0)
    with global_state_untouched(), noisy_layers(model, sigmas, generator):
        noisy = outputs_of(model, x)
    conv = noisy["features.conv"] - clean["features.conv"]
    assert conv.shape == (200, 4, 6, 6)
    assert conv.std().item() == close_to_std(0.3, conv.numel())
    with torch.no_grad():
        features = model.features.pool(model.features.relu(noisy["features.conv"]))
        assert torch.equal(noisy["features"], features)
        assert torch.equal(noisy["flatten"], features.flatten(1))
        linear = noisy["head.0"] - model.head[0](noisy["flatten"])
        assert linear.std().item() == close_to_std(0.05, linear.numel())
        assert torch.equal(noisy["head.1"], torch.tanh(noisy["head.0"]))
        assert torch.equal(noisy["head.2"], model.head[2](noisy["head.1"]))


def test_noise_on_a_nested_module_comes_after_all_of_it():
    model, x = make_conv_net(), images()
    clean = outputs_of(model, x)
    with noisy_layers(model, {"features": 0.2}):
        noisy = outputs_of(model, x)
    assert torch.equal(noisy["features.pool"], clean["features.pool"])
    added = noisy["features"] - clean["features"]
    assert added.std().item() == close_to_std(0.2, added.numel())


def test_noise_of_layers_comes_from_the_generator(X):
    model, x = make_mlp(SIZES), torch.as_tensor(X)

    def pass_with(seed):
        with noisy_layers(model, SIGMAS, torch.Generator().manual_seed(seed)):
            return model(x)

    assert torch.equal(pass_with(1), pass_with(1))
    assert not torch.equal(pass_with(1), pass_with(2))
    torch.manual_seed(5)
    with noisy_layers(model, SIGMAS):
        first, second = model(x), model(x)
    torch.manual_seed(5)
    with noisy_layers(model, SIGMAS):
        assert torch.equal(model(x), first)
    assert not torch.equal(first, second)


def test_gradients_pass_the_noise(X):
    model = make_mlp(SIZES, activation="linear")
    with noisy_layers(model, SIGMAS):
        model(torch.as_tensor(X)).sum().backward()
    noisy = [parameter.grad.clone() for parameter in model.layer1.parameters()]
    model.zero_grad()
    model(torch.as_tensor(X)).sum().backward()
    for one, parameter in zip(noisy, model.layer1.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad)


def test_nothing_is_left_after_noise(X):
    model, x = make_mlp(SIZES), torch.as_tensor(X)
    before = model(x)
    with noisy_layers(model, SIGMAS):
        assert len(hooks(model)) == 3
        assert not torch.equal(model(x), before)
    assert hooks(model) == []
    assert torch.equal(model(x), before)


def test_nothing_is_left_when_an_exception_passes(X):
    model, x = make_mlp(SIZES), torch.as_tensor(X)
    with pytest.raises(BrokenError), noisy_layers(model, SIGMAS):
        raise BrokenError
    assert hooks(model) == []
    model.append(Breaking(1))
    with pytest.raises(BrokenError), noisy_layers(model, SIGMAS):
        model(x)
    assert hooks(model) == []


@pytest.mark.parametrize("sigma", [-0.1, float("nan")])
def test_a_layer_refuses_wrong_standard_deviations(sigma):
    model = nn.Sequential(make_mlp(SIZES), GaussianNoise(0.1))
    with (
        pytest.raises(ValueError, match=r"sigma of layer '0\.layer2' must be >= 0"),
        noisy_layers(model, {"0.layer1": 0.1, "0.layer2": sigma}),
    ):
        pytest.fail("entered")
    assert hooks(model) == []
    assert model[1].active is None


def test_an_unknown_layer_error_lists_the_layers():
    model = nn.Sequential(make_mlp((3, 2, 2)), GaussianNoise(0.1))
    with (
        pytest.raises(ValueError, match=r"no layer 'layer1'; it has: 0, 0\.layer1, .*0\.output, 1"),
        noisy_layers(model, {"0.layer1": 0.1, "layer1": 0.1}),
    ):
        pytest.fail("entered")
    assert hooks(model) == []
    assert model[1].active is None


def test_hooks_of_the_user_stay(X):
    model, seen = make_mlp(SIZES), []
    model.layer1.register_forward_hook(lambda *_: seen.append(1))
    with noisy_layers(model, SIGMAS):
        model(torch.as_tensor(X))
    model(torch.as_tensor(X))
    assert len(seen) == 2


@pytest.mark.parametrize("active", [None, False, True])
def test_noise_modules_are_switched_on_and_back(active):
    model = nn.Sequential(nn.Identity(), GaussianNoise(0.3)).eval()
    own, other = torch.Generator(), torch.Generator().manual_seed(3)
    model[1].active, model[1].generator = active, own
    own_state, x = own.get_state(), torch.zeros(100, 100)
    with contextlib.suppress(BrokenError), noisy_layers(model, {"0": 0.4}, other):
        assert model(x).std().item() == close_to_std(0.5, x.numel())
        raise BrokenError
    assert model[1].active is active
    assert model[1].generator is own
    assert torch.equal(own.get_state(), own_state)


def test_a_layer_that_hands_out_no_tensor_is_named():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.RNN(2, 3)

        def forward(self, x):
            return self.rnn(x)[0]

    model, x = Recurrent(), torch.zeros(5, 1, 2)
    with pytest.raises((TypeError, ValueError), match="rnn"), noisy_layers(model, {"rnn": 0.1}):
        model(x)
    with pytest.raises((TypeError, ValueError), match="rnn"):
        recorded(Recorder(model, ["rnn"]), x)
    assert hooks(model) == []


def test_a_number_does_not_say_which_layers_are_noisy():
    model = make_mlp(SIZES)
    with pytest.raises(TypeError, match="sigma must say which layers"), noisy_layers(model, 0.1):
        pass
    with pytest.raises(TypeError, match="sigma must say which layers"):
        Trainer(model, torch.zeros(3, SIZES[0]), torch.zeros(3), sigma=0.1)
