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


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf"), "0.1", None])
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
        assert len(hooks(model)) == 4
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


# Code that calls no hooks


def compiled(model):
    model(torch.ones(4, 2))
    return torch.compile(model, backend="eager")


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


CALLS = {
    "of the wrapper": (compiled, "_orig_mod.0", None),
    "inside a model": (lambda m: nn.Sequential(compiled(m)), "0._orig_mod.0", None),
    "in place": (compiled_in_place, "0", None),
    "of another wrapper": (lambda m: m, "0", compiled),
    "of a function": (lambda m: m, "0", lambda m: torch.compile(lambda x: m(x), backend="eager")),
    "with other weights": (lambda m: m, "0", lambda m: lambda x: torch.func.functional_call(
        m, dict(m.named_parameters()), x)),
    "of copies": (nn.DataParallel, "module.0", None),
    "traced by fx": (torch.fx.symbolic_trace, "0", None),
}  # fmt: skip


@pytest.mark.parametrize(("make", "layer", "make_call"), CALLS.values(), ids=list(CALLS))
def test_noise_is_there_in_every_call(make, layer, make_call):
    """A pass before has fixed what compiled code does."""
    model, x = make(nn.Sequential(nn.Linear(2, 2), nn.Tanh())), torch.ones(4, 2)
    call = model if make_call is None else make_call(model)
    clean = call(x)
    for _ in range(2):
        with noisy_layers(model, {layer: 9.0}):
            assert not torch.equal(call(x), clean)
        assert torch.equal(call(x), clean)


def test_a_compiled_model_is_recorded_like_any_other(X):
    model = make_mlp(SIZES)
    expected = recorded(Recorder(model, ["layer1", "layer2"], sigma=SIGMAS, n_replicas=2), X)
    fast = torch.compile(model, backend="eager")
    names = [f"_orig_mod.{name}" for name in ("layer1", "layer2")]
    sigma = {f"_orig_mod.{name}": value for name, value in SIGMAS.items()}
    for _ in range(2):
        fast(torch.as_tensor(X))
        found = recorded(Recorder(fast, names, sigma=sigma, n_replicas=2), X)
        for name in expected:
            np.testing.assert_array_equal(found[f"_orig_mod.{name}"], expected[name])


def test_what_compiles_is_given_back_by_the_last_of_two_threads():
    """Contexts of two threads that end in the order in which they began."""
    model, fast = (nn.Sequential(nn.Linear(2, 2)) for _ in range(2))
    before = torch._dynamo.eval_frame._stance.stance
    first, second = noisy_layers(model, {"0": 0.1}), noisy_layers(fast, {"0": 0.1})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    second.__exit__(None, None, None)
    assert torch._dynamo.eval_frame._stance.stance == before == "default"


def inner():
    return nn.Sequential(nn.Linear(2, 2), nn.Tanh())


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "layer", "message"),
    [
        (torch.jit.script, "0", "torch.jit has scripted or traced"),
        (lambda m: torch.jit.trace(m, torch.ones(4, 2)), "0", "torch.jit has scripted or traced"),
        (lambda m: nn.Sequential(torch.jit.script(m)), "0.1", "torch.jit has scripted or traced"),
        (lambda m: nn.Sequential(torch.jit.script(m)), "0", "torch.jit has scripted or traced"),
        (lambda m: torch.fx.symbolic_trace(nn.Sequential(m)), "0", "'0' is not called"),
        (lambda m: torch.export.export(m, (torch.ones(4, 2),)).module(), "0", "not called|eval"),
    ],
)
def test_layers_whose_hooks_are_not_called_are_refused(make, layer, message):
    model, x = make(inner()), torch.ones(4, 2)
    before = hooks(model)
    with pytest.raises(ValueError, match=message), noisy_layers(model, {layer: 0.1}):
        model(x)
    with pytest.raises((ValueError, NotImplementedError), match=message):
        Recorder(model, [layer]).describe(x)
    assert hooks(model) == before


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_noise_modules_that_cannot_be_switched_are_refused():
    model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), GaussianNoise(0.1)))
    with pytest.raises(ValueError, match="'1' belongs to what torch.jit"), noisy_layers(model, {}):
        pass


def test_noise_on_weights_that_are_used_without_a_call_is_refused():
    model = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    sigma = {"self_attn.out_proj": 0.1}
    message = r"'self_attn\.out_proj' is not called"
    with pytest.raises(ValueError, match=message), noisy_layers(model, sigma):
        model(torch.zeros(3, 5, 4))
    with pytest.raises(ValueError, match=message):
        Recorder(model, ["norm2"], sigma=sigma, flatten="all").describe(torch.zeros(3, 5, 4))


@pytest.mark.parametrize("make", [torch.Tensor.long, lambda x: x.to(torch.complex64)])
def test_noise_on_other_than_real_numbers_names_the_layer(make):
    class Codes(nn.Module):
        def forward(self, x):
            return make(x)

    model = nn.Sequential(Codes())
    refused = pytest.raises((TypeError, ValueError), match="Layer '0' returns")
    with refused, noisy_layers(model, {"0": 0.1}):
        model(torch.zeros(3, 2))


def test_noise_comes_from_the_device_of_its_generator():
    """As in a model whose layers lie on several devices."""
    elsewhere = torch.zeros(3, device="meta")
    noise = GaussianNoise(0.1)
    noise.generator = torch.Generator().manual_seed(0)
    assert noise(elsewhere).device.type == "meta"


@pytest.mark.parametrize("sigma", ["0.1", None, [0.1], float("inf")])
def test_what_is_no_standard_deviation_names_its_layer(sigma):
    with pytest.raises(ValueError, match="sigma of layer 'layer1' must be >= 0 and finite; got"):
        Recorder(make_mlp(SIZES), ["layer1"], sigma={"layer1": sigma})
