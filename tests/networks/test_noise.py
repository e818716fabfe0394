"""Noise on layers: as a module, and by hooks."""

import contextlib
import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from skinfo import dropout_sigma
from skinfo.networks import (
    GaussianDropout,
    GaussianNoise,
    LayerNoise,
    LogNormalDropout,
    Recorder,
    noisy_layers,
)
from skinfo.networks.inputs import one_thread_if_small
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

# T of S and standard normal Z, mean and standard deviation of T given S, by their formulas.
LAWS = {
    "additive": (GaussianNoise(0.3), lambda s: s, lambda _: 0.3),
    "multiplicative": (GaussianDropout(0.3), lambda s: s, lambda s: 0.3 * abs(s)),
    "lognormal": (
        LogNormalDropout(0.3),
        lambda s: s * np.exp(0.045),
        lambda s: abs(s) * np.exp(0.045) * np.sqrt(np.exp(0.09) - 1),
    ),
    "affine": (
        LayerNoise((0.3, 0.4), "affine"),
        lambda s: s,
        lambda s: np.sqrt(0.09 + 0.16 * s**2),
    ),
}
each_law = pytest.mark.parametrize(("noise", "mean", "spread"), LAWS.values(), ids=list(LAWS))


@each_law
def test_noise_has_the_mean_and_the_spread_of_its_model(noise, mean, spread):
    n, levels = 100_000, (-2.0, 0.5, 3.0)
    added = noise(torch.tensor(levels).repeat(n, 1)).double()
    for column, s in enumerate(levels):
        error = spread(s) / np.sqrt(n)
        assert added[:, column].mean().item() == pytest.approx(mean(s), abs=5 * error)
        # Of log-normal noise, whose tails are heavier, a spread has twice the error.
        assert added[:, column].std().item() == pytest.approx(spread(s), abs=10 * error)
    one, other = added[:, 0], added[:, 1]
    assert torch.corrcoef(torch.stack([one, other]))[0, 1].abs() < 5 / np.sqrt(n)


@pytest.mark.parametrize("noise", [GaussianDropout(0.7), LogNormalDropout(0.7)])
def test_what_is_zero_stays_zero_and_log_normal_noise_keeps_signs(noise):
    x = torch.tensor([0.0, -0.0, -2.0, 3.0]).repeat(1000, 1)
    noisy = noise(x)
    assert torch.equal(noisy[:, :2], x[:, :2])
    assert (noisy[:, 2:] != x[:, 2:]).all()
    flipped = (noisy[:, 2:].sign() != x[:, 2:].sign()).any().item()
    assert flipped is isinstance(noise, GaussianDropout)


@each_law
def test_there_is_noise_in_training_only(noise, mean, spread):
    x = torch.ones(10, 10)
    assert not torch.equal(noise(x), noise(x))
    assert torch.equal(noise.eval()(x), x)
    noise.train()


def test_active_decides_over_the_mode():
    noise, x = GaussianNoise(0.3), torch.zeros(10, 10)
    noise.active = False
    assert torch.equal(noise(x), x)
    noise.eval()
    noise.active = True
    assert noise(x).abs().min() > 0


@pytest.mark.parametrize("kind", [GaussianNoise, GaussianDropout, LogNormalDropout])
def test_sigma_zero_is_no_noise(kind):
    x = torch.randn(3, 3)
    assert torch.equal(kind(0)(x), x)


@pytest.mark.parametrize("kind", [GaussianNoise, GaussianDropout, LogNormalDropout])
@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf"), "0.1", None, (0.1, 0.0), True])
def test_a_noise_module_refuses_wrong_standard_deviations(kind, sigma):
    with pytest.raises(ValueError, match=f"'{kind.__name__}': sigma.* standard deviation"):
        kind(sigma)


def test_a_noise_module_refuses_a_noise_that_is_none():
    with pytest.raises(ValueError, match=r"noise is one of 'additive', .*; got 'binary'"):
        LayerNoise(0.1, "binary")
    with pytest.raises(ValueError, match=r'noise="affine" takes sigma=\(a, b\)'):
        LayerNoise(0.1, "affine")


@each_law
def test_a_noise_module_draws_from_its_generator(noise, mean, spread):
    x, noise.generator = torch.ones(10, 10), torch.Generator().manual_seed(4)
    with global_state_untouched():
        first = noise(x)
        noise.generator.manual_seed(4)
        assert torch.equal(noise(x), first)
    noise.generator = None


@pytest.mark.parametrize("sigma", [0.3, 1e-3])
def test_additive_noise_is_rounded_once(sigma):
    """As in all recordings so far: the bits of a training depend on it."""
    x, generator = torch.randn(50, 7), torch.Generator().manual_seed(1)
    noise, z = GaussianNoise(sigma), torch.randn(50, 7, generator=generator)
    noise.generator = generator.manual_seed(1)
    assert torch.equal(noise(x), torch.add(x, z, alpha=sigma))


@pytest.mark.parametrize("kind", [GaussianNoise, GaussianDropout])
def test_each_unit_may_have_a_sigma_of_its_own(kind):
    noise, x = kind((0.1, 2.0, 0.5, 1.0)), torch.ones(20_000, 2, 2, dtype=torch.float64)
    noisy = noise(x)
    assert noisy.dtype == torch.float64
    for unit, sigma in enumerate(noise.sigma):
        assert noisy.flatten(1)[:, unit].std().item() == close_to_std(sigma, len(x))
    with pytest.raises(ValueError, match=r"4 standard deviations, but .* 6 values here, of shape"):
        noise(torch.ones(5, 6))
    assert noise(torch.ones(0, 4)).shape == (0, 4)


def test_gradients_pass_noise_that_multiplies():
    """dT/dS is the factor, also where S is zero; sigma times Z is not cut off from the gradient."""
    for noise in (GaussianDropout(0.5), LogNormalDropout(0.5), GaussianDropout((0.5, 0.2, 0.1))):
        x = torch.tensor([[0.0, -1.0, 2.0]], requires_grad=True)
        noisy = noise(x)
        noisy.sum().backward()
        assert torch.isfinite(x.grad).all()
        torch.testing.assert_close(x.grad * x.detach(), noisy.detach())
        assert (x.grad != 1).all()


def test_noise_modules_are_copied_and_saved_without_a_state(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), GaussianDropout(0.5), LogNormalDropout((0.1, 0.2)))
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    again = copy.deepcopy(model)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    x = torch.randn(4, 3)
    torch.manual_seed(3)
    noisy = model(x)
    torch.manual_seed(3)
    assert torch.equal(again(x), noisy)
    assert repr(again[1:]) == repr(model[1:])
    assert "(2): LogNormalDropout(sigma=(0.1, 0.2))" in repr(model[1:])


@pytest.mark.parametrize("make", [lambda p: GaussianDropout(dropout_sigma(p)), nn.Dropout])
def test_a_network_with_gaussian_dropout_learns_as_one_with_dropout(make):
    """Two rings: over ten seeds 0.987 of the test inputs are right with either, errors of 0.002."""
    angle, radius = torch.rand(600) * 6.2832, 1 + torch.arange(600) % 2 + 0.2 * torch.randn(600)
    X = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    y = torch.arange(600) % 2
    model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), make(0.3), nn.Linear(64, 2))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    with one_thread_if_small(model):
        for _ in range(150):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(X[:300]), y[:300]).backward()
            optimiser.step()
    accuracy = (model.eval()(X[300:]).argmax(1) == y[300:]).double().mean()
    assert accuracy > 0.97


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


def test_layers_have_the_noise_that_is_named(X):
    model, x = make_mlp(SIZES), torch.as_tensor(X).repeat(1000, 1)
    clean = outputs_of(model, x)
    kinds = {"layer1": "multiplicative", "layer3": "lognormal"}
    with noisy_layers(model, {"layer1": 0.2, "layer2.0": 0.1, "layer3": 0.3}, noise=kinds):
        noisy = outputs_of(model, x)
    factor = noisy["layer1"] / clean["layer1"]
    assert factor.std().item() == close_to_std(0.2, factor.numel())
    with torch.no_grad():
        linear = noisy["layer2.0"] - model.layer2[0](noisy["layer1"])
        logs = (noisy["layer3"] / model.layer3(noisy["layer2"])).log()
    assert linear.std().item() == close_to_std(0.1, linear.numel())
    assert logs.std().item() == close_to_std(0.3, logs.numel())
    with noisy_layers(model, {"layer1": (0.1, 0.2, 0.3, 0.4, 0.5)}, noise="multiplicative"):
        spread = (outputs_of(model, x)["layer1"] / clean["layer1"]).std(0)
    assert spread.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], rel=0.02)


def test_noise_that_does_not_fit_names_its_layer(X):
    model, x = make_mlp(SIZES), torch.as_tensor(X)
    with (
        pytest.raises(
            ValueError, match="Layer 'layer2': sigma has 2 standard deviations, but .* 4"
        ),
        noisy_layers(model, {"layer2": (0.1, 0.2)}),
    ):
        model(x)
    for noise, message in (
        ("binary", "layer 'layer2': noise is one of 'additive'"),
        ({"layer1": "lognormal"}, "noise names layer 'layer1', for which there is no sigma"),
    ):
        refused = pytest.raises(ValueError, match=message)
        with refused, noisy_layers(model, {"layer2": 0.1}, noise=noise):
            pytest.fail("entered")
    assert hooks(model) == []


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
        pytest.raises(ValueError, match=r"layer '0\.layer2': sigma must be a positive"),
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


NOISE_MODULES = pytest.mark.parametrize("kind", [GaussianNoise, GaussianDropout, LogNormalDropout])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@NOISE_MODULES
def test_noise_modules_that_cannot_be_switched_are_refused(kind):
    model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), kind(0.1)))
    with pytest.raises(ValueError, match="'1' belongs to what torch.jit"), noisy_layers(model, {}):
        pass


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@NOISE_MODULES
def test_scripted_noise_modules_are_saved_and_evaluated(kind):
    model, x, file = nn.Sequential(nn.Linear(2, 2), kind(0.1)), torch.ones(4, 2), io.BytesIO()
    torch.jit.save(torch.jit.script(model), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    assert torch.equal(scripted.eval()(x), model.eval()(x))
    if kind is GaussianNoise:
        assert not torch.equal(scripted.train()(x), model(x))
    else:
        with pytest.raises(torch.jit.Error, match="perturbed"):
            scripted.train()(x)


@NOISE_MODULES
def test_compiled_noise_modules_train(kind):
    model, x = nn.Sequential(nn.Linear(2, 2), kind((0.5, 0.6))), torch.ones(400, 2)
    fast = torch.compile(model, backend="eager", fullgraph=True)
    assert fast(x).std(0).min() > 0.01
    assert torch.equal(fast.eval()(x), model[0](x))


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


@pytest.mark.parametrize("sigma", ["0.1", None, [[0.1]], float("inf")])
def test_what_is_no_standard_deviation_names_its_layer(sigma):
    with pytest.raises(ValueError, match="layer 'layer1': sigma must be .*standard deviation.*got"):
        Recorder(make_mlp(SIZES), ["layer1"], sigma={"layer1": sigma})
