import contextlib
import tempfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from skinfo import szt
from skinfo.datasets import make_szt
from skinfo.errors import RunError
from skinfo.networks import (
    GaussianNoise,
    Recorder,
    Trainer,
    make_cnn,
    make_mlp,
    noisy_layers,
    parseval_step,
)
from skinfo.runs import Layer, RunWriter, open_run

SIZES = (6, 5, 4, 3, 2)
SIGMAS = {"layer1": 0.1, "layer2": 0.2, "layer3": 0.3}
NAMES = list(SIGMAS)


class BrokenError(Exception):
    """Raised by tests in the middle of things."""


class Breaking(nn.Module):
    """Pass inputs on until a certain call."""

    def __init__(self, at_call):
        super().__init__()
        self.at_call = at_call

    def forward(self, x):
        self.at_call -= 1
        if self.at_call == 0:
            raise BrokenError
        return x


def make_conv_net():
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(
                OrderedDict(conv=nn.Conv2d(1, 4, 3), relu=nn.ReLU(), pool=nn.MaxPool2d(2))
            ),
            flatten=nn.Flatten(),
            head=nn.Sequential(nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3)),
        )
    )


def images(n=200):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _same_weights_in_every_run():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(name="X")
def make_inputs(rng):
    return rng.standard_normal((50, SIZES[0])).astype(np.float32)


def hooks(model):
    return [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]


def modes(model):
    return [module.training for module in model.modules()]


def outputs_of(model, x):
    """What every submodule hands on, noise included, in one pass."""
    found = {}

    def keep(name):
        return lambda _module, _args, output: found.update({name: output.detach()})

    handles = [m.register_forward_hook(keep(name)) for name, m in model.named_modules() if name]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return found


def recorded(recorder, inputs):
    with recorder.record(inputs) as arrays:
        return {name: np.array(array) for name, array in arrays.items()}


def close_to_std(sigma, n):
    """Five standard errors of a standard deviation from n draws."""
    return pytest.approx(sigma, abs=5 * sigma / np.sqrt(2 * n))


@contextlib.contextmanager
def global_state_untouched():
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


# The noise module


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


def test_noise_of_sigma_zero_is_none():
    x = torch.randn(3, 3)
    assert torch.equal(GaussianNoise(0)(x), x)


@pytest.mark.parametrize("sigma", [-0.1, float("nan")])
def test_a_noise_module_refuses_what_is_no_standard_deviation(sigma):
    with pytest.raises(ValueError, match="sigma is a standard deviation and must be >= 0"):
        GaussianNoise(sigma)


def test_a_noise_module_draws_from_its_generator():
    noise, x = GaussianNoise(0.3), torch.zeros(10, 10)
    noise.generator = torch.Generator().manual_seed(4)
    with global_state_untouched():
        first = noise(x)
        noise.generator.manual_seed(4)
        assert torch.equal(noise(x), first)


# Noise on named layers


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
def test_a_layer_refuses_what_is_no_standard_deviation(sigma):
    model = nn.Sequential(make_mlp(SIZES), GaussianNoise(0.1))
    with (
        pytest.raises(ValueError, match=r"sigma of layer '0\.layer2' must be >= 0"),
        noisy_layers(model, {"0.layer1": 0.1, "0.layer2": sigma}),
    ):
        pytest.fail("entered")
    assert hooks(model) == []
    assert model[1].active is None


def test_an_unknown_layer_names_those_there_are():
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


# Recording


def test_the_first_layer_is_recorded_without_noise_exactly(X):
    model = make_mlp(SIZES)
    arrays = recorded(Recorder(model, NAMES, sigmas=SIGMAS, n_replicas=4), X)
    with torch.no_grad():
        np.testing.assert_array_equal(arrays["layer1"], model.layer1(torch.as_tensor(X)).numpy())
    assert {name: array.shape for name, array in arrays.items()} == {
        "layer1": (50, 5), "layer2": (50, 4, 4), "layer3": (50, 4, 3),
    }  # fmt: skip
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_replicas_have_fresh_noise(X):
    arrays = recorded(Recorder(make_mlp(SIZES), NAMES, sigmas=SIGMAS, n_replicas=4), X)
    for name in ("layer2", "layer3"):
        for one in range(4):
            for other in range(one):
                assert np.all(np.any(arrays[name][:, one] != arrays[name][:, other], axis=-1))


def test_a_layer_is_recorded_before_its_own_noise(X):
    model, x = make_mlp(SIZES), torch.as_tensor(X)
    arrays = recorded(Recorder(model, NAMES, sigmas={"layer2": 0.5}, n_replicas=3), X)
    with torch.no_grad():
        first = model.layer1(x)
        np.testing.assert_array_equal(arrays["layer1"], first.numpy())
        np.testing.assert_array_equal(arrays["layer2"], model.layer2(first).numpy())
    assert arrays["layer3"].shape == (50, 3, 3)


def test_without_noise_everything_is_recorded_once(X):
    model = make_mlp(SIZES)
    arrays = recorded(Recorder(model, [*NAMES, "output"], n_replicas=3), X)
    assert [array.ndim for array in arrays.values()] == [2, 2, 2, 2]
    with torch.no_grad():
        np.testing.assert_array_equal(arrays["output"], model(torch.as_tensor(X)).numpy())


def test_spread_of_replicas_is_the_propagated_sigma(rng):
    sigma, n_replicas = 0.3, 400
    model = make_mlp((3, 4, 3, 2), activation="linear", seed=2)
    X = rng.standard_normal((100, 3))
    recorder = Recorder(
        model, ["layer1", "layer2"], sigmas={"layer1": sigma, "layer2": 9.0},
        n_replicas=n_replicas, batch_size=33,
    )  # fmt: skip
    S = recorded(recorder, X)["layer2"].astype(np.float64)
    with torch.no_grad():
        noiseless = model.layer2(model.layer1(torch.as_tensor(X, dtype=torch.float32))).numpy()
    W = model.layer2[0].weight.detach().numpy().astype(np.float64)
    noise = (S - noiseless[:, None]).reshape(-1, 3)
    covariance = sigma**2 * W @ W.T
    np.testing.assert_allclose(
        np.std(S, axis=1, ddof=1).mean(axis=0), np.sqrt(np.diag(covariance)), rtol=0.02
    )
    np.testing.assert_allclose(np.cov(noise.T), covariance, atol=0.03 * np.trace(covariance))
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=5 * sigma / np.sqrt(len(noise)))
    # Noise is fresh for each input too: batches and replicas do not share it.
    by_input = (S - noiseless[:, None])[:, :, 0]
    off_diagonal = np.corrcoef(by_input)[np.triu_indices(len(X), 1)]
    assert np.abs(off_diagonal).max() < 0.3


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_batches_change_neither_shapes_nor_noiseless_values(X, batch_size):
    model = make_mlp(SIZES)
    recorder = Recorder(model, NAMES, sigmas={"layer1": 1e-3}, n_replicas=3, batch_size=batch_size)
    arrays = recorded(recorder, X)
    assert arrays["layer2"].shape == (50, 3, 4)
    clean = outputs_of(model, torch.as_tensor(X))
    np.testing.assert_allclose(arrays["layer1"], clean["layer1"].numpy(), rtol=1e-5, atol=1e-6)
    # Every row of every replica was written, by its own input.
    error = arrays["layer2"] - clean["layer2"].numpy()[:, None]
    assert np.abs(error).max() < 0.02


@pytest.mark.parametrize("n_replicas", [1, 2, 5])
def test_replicas_are_as_many_as_asked_for(X, n_replicas):
    recorder = Recorder(make_mlp(SIZES), ["layer2"], sigmas=SIGMAS, n_replicas=n_replicas)
    assert recorded(recorder, X)["layer2"].shape == (50, n_replicas, 4)


@pytest.mark.parametrize("options", [{"n_replicas": 0}, {"batch_size": 0}])
def test_nothing_to_record_is_an_error(options):
    with pytest.raises(ValueError, match="n_replicas and batch_size must be at least 1"):
        Recorder(make_mlp(SIZES), NAMES, **options)


def test_layers_come_in_network_order(X):
    recorder = Recorder(
        make_mlp(SIZES), ["output", "layer3", "layer1", "layer2"], sigmas=SIGMAS, n_replicas=2
    )
    assert recorder.describe(X) == (
        Layer("layer1", 0.1, False),
        Layer("layer2", 0.2, True),
        Layer("layer3", 0.3, True),
        Layer("output", 0.0, True),
    )
    assert list(recorded(recorder, X)) == ["layer1", "layer2", "layer3", "output"]


def test_network_order_is_the_order_of_running(X):
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(4, 2), nn.Linear(6, 4)

        def forward(self, x):
            return self.last(self.first(x))

    recorder = Recorder(Backwards(), ["last", "first"], sigmas={"first": 0.1})
    assert recorder.describe(X) == (Layer("first", 0.1, False), Layer("last", 0.0, True))


@pytest.mark.parametrize(
    ("sigmas", "noise_before"),
    [
        ({}, [False, False, False]),
        ({"layer1": 0.0, "layer2": 0.1}, [False, False, True]),
        ({"layer1.0": 0.1}, [True, True, True]),
        ({"layer3": 0.1}, [False, False, False]),
    ],
)
def test_noise_anywhere_before_a_layer_counts(X, sigmas, noise_before):
    recorder = Recorder(make_mlp(SIZES), NAMES, sigmas=sigmas, n_replicas=2)
    assert [layer.noise_before for layer in recorder.describe(X)] == noise_before
    arrays = recorded(recorder, X)
    assert [arrays[name].ndim == 3 for name in NAMES] == noise_before


def test_noise_of_a_layer_that_is_not_recorded_counts(X):
    recorder = Recorder(make_mlp(SIZES), ["layer2.0"], sigmas={"layer1": 0.1}, n_replicas=2)
    assert recorder.describe(X) == (Layer("layer2.0", 0.0, True),)
    assert recorded(recorder, X)["layer2.0"].shape == (50, 2, 4)


def test_noise_modules_record_what_enters_them(X):
    model = nn.Sequential(
        nn.Linear(6, 4), GaussianNoise(0.2), nn.Linear(4, 3), GaussianNoise(0.4)
    ).eval()
    recorder = Recorder(model, ["1", "3"], n_replicas=200)
    assert recorder.describe(X) == (Layer("1", 0.2, False), Layer("3", 0.4, True))
    arrays = recorded(recorder, X)
    with torch.no_grad():
        np.testing.assert_array_equal(arrays["1"], model[0](torch.as_tensor(X)).numpy())
    spread = np.std(arrays["3"], axis=1, ddof=1).mean(axis=0)
    W = model[2].weight.detach().numpy()
    np.testing.assert_allclose(spread, 0.2 * np.linalg.norm(W, axis=1), rtol=0.05)
    assert (model[1].active, model[3].active) == (None, None)


def test_the_sigma_of_a_layer_is_that_of_the_noise_it_gets(X):
    model = nn.Sequential(nn.Linear(6, 4), GaussianNoise(0.3), nn.Identity())
    recorder = Recorder(model, ["1", "2"], sigmas={"1": 0.4}, n_replicas=300)
    spread = np.std(recorded(recorder, X)["2"], axis=1, ddof=1).mean()
    assert recorder.describe(X)[0].sigma == pytest.approx(spread, rel=0.02)


def test_convolutional_layers_are_recorded():
    model, x = make_conv_net().eval(), images(20)
    recorder = Recorder(
        model,
        ["features.conv", "head.0"],
        sigmas={"features.conv": 0.1},
        n_replicas=2,
        flatten=True,
    )
    arrays = recorded(recorder, x.numpy())
    with torch.no_grad():
        conv = model.features.conv(x).flatten(1).numpy()
    np.testing.assert_array_equal(arrays["features.conv"], conv)
    assert arrays["head.0"].shape == (20, 2, 8)


def test_a_layer_that_runs_twice_is_refused(X):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.tanh = nn.Linear(6, 4), nn.Linear(4, 4), nn.Tanh()

        def forward(self, x):
            return self.tanh(self.b(self.tanh(self.a(x))))

    recorder = Recorder(Twice(), ["tanh"], sigmas={"a": 0.1})
    with pytest.raises(ValueError, match="'tanh'"):
        recorder.describe(X)


def test_recording_an_unknown_layer_names_those_there_are():
    with pytest.raises(ValueError, match="no layer 'layer9'; it has: layer1, .*output"):
        Recorder(make_mlp(SIZES), ["layer1", "layer9"])


@pytest.mark.parametrize("sigmas", [{"layer9": 0.1}, {"layer1": -0.1}])
def test_recording_with_noise_that_cannot_be_is_an_error(X, sigmas):
    model = make_mlp(SIZES)
    with pytest.raises(ValueError, match=next(iter(sigmas))):
        recorded(Recorder(model, NAMES, sigmas=sigmas), X)
    assert hooks(model) == []


def test_a_layer_that_does_not_run_is_an_error(X):
    model = make_mlp(SIZES)
    model.layer1.spare = nn.Linear(2, 2)
    model.layer1.forward = model.layer1[0].forward
    with pytest.raises(ValueError, match=r"Layer 'layer1\.spare' is not used"):
        Recorder(model, ["layer1", "layer1.spare"]).describe(X)
    assert hooks(model) == []


def test_recording_is_seeded_and_leaves_the_global_generator_alone(X):
    model = nn.Sequential(make_mlp(SIZES), nn.Dropout(0.5))

    def record(seed):
        recorder = Recorder(model, ["0.layer2"], sigmas={"0.layer1": 0.1}, seed=seed)
        return recorded(recorder, X)["0.layer2"]

    with global_state_untouched():
        np.testing.assert_array_equal(record(1), record(1))
        assert not np.array_equal(record(1), record(2))


def test_dropout_is_off_and_statistics_stay(X):
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(6), nn.Linear(6, 2))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    arrays = recorded(Recorder(model, ["0", "2"], n_replicas=2, batch_size=10), X)
    np.testing.assert_array_equal(arrays["0"], X)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def mixed_model(*, at_call):
    model = nn.Sequential(make_mlp(SIZES), Breaking(at_call), GaussianNoise(0.1))
    model[0].layer2.eval()
    model[0].layer3[1].eval()
    return model


def test_the_mode_of_each_module_comes_back(X):
    model = mixed_model(at_call=-1)
    before = modes(model)
    assert len(set(before)) == 2
    recorder = Recorder(model, ["0.layer2", "2"], sigmas={"0.layer1": 0.1}, n_replicas=2)
    with recorder.record(X):
        assert modes(model) == before
    recorder.describe(X)
    assert modes(model) == before
    assert hooks(model) == []


@pytest.mark.parametrize("at_call", [1, 2, 4])
def test_nothing_is_left_when_the_model_raises(X, tmp_path, monkeypatch, at_call):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = mixed_model(at_call=at_call)
    before = modes(model)
    recorder = Recorder(
        model, ["0.layer1", "0.layer2"], sigmas={"0.layer1": 0.1}, batch_size=20, n_replicas=2
    )
    with pytest.raises(BrokenError):
        recorded(recorder, X)
    assert modes(model) == before
    assert hooks(model) == []
    assert (model[2].active, model[2].generator) == (None, None)
    assert torch.is_grad_enabled()
    assert list(tmp_path.iterdir()) == []


def test_arrays_are_on_disk_until_the_context_ends(X, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    recorder = Recorder(make_mlp(SIZES), NAMES, sigmas=SIGMAS, n_replicas=2)
    with recorder.record(X) as arrays:
        assert all(isinstance(array, np.memmap) for array in arrays.values())
        assert len(list(tmp_path.glob("skinfo-*/*.npy"))) == 3
    assert list(tmp_path.iterdir()) == []


def test_inputs_may_be_float64_a_list_or_a_tensor(X):
    recorder = Recorder(make_mlp(SIZES), ["layer1"])
    expected = recorded(recorder, X)["layer1"]
    for inputs in (X.astype(np.float64), X.tolist(), torch.as_tensor(X)):
        np.testing.assert_array_equal(recorded(recorder, inputs)["layer1"], expected)
    in_double = Recorder(make_mlp(SIZES).double(), ["layer1"])
    np.testing.assert_allclose(recorded(in_double, X)["layer1"], expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def warn_each_time():
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


def test_inputs_may_be_read_only(X, tmp_path, warn_each_time):
    np.save(tmp_path / "X.npy", X)
    mapped, model = np.load(tmp_path / "X.npy", mmap_mode="r"), make_mlp(SIZES)
    recorder = Recorder(model, ["layer1"])
    np.testing.assert_array_equal(
        recorded(recorder, mapped)["layer1"], recorded(recorder, X)["layer1"]
    )
    y = np.zeros(50, dtype=np.int64)
    y.flags.writeable = False
    trainer = Trainer(model, mapped, y)
    assert trainer.evaluate(mapped, y) == trainer.evaluate(X, y.copy())


def test_what_is_recorded_is_a_run(X, tmp_path):
    recorder = Recorder(make_mlp(SIZES), NAMES, sigmas=SIGMAS, n_replicas=3)
    writer = RunWriter(tmp_path, recorder.describe(X), labels=np.arange(50) % 2)
    with recorder.record(X) as arrays:
        writer.add(1, arrays)
    run = open_run(tmp_path)
    expected = recorded(recorder, X)
    for name in NAMES:
        np.testing.assert_array_equal(run.array(1, name), expected[name])
    rows = run.replicas(1, "layer3")
    assert rows.X.shape == (150, 3)
    assert not rows.replicas_missing


# The network


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
        return nn.utils.parameters_to_vector(make_mlp(seed=seed).parameters())

    with global_state_untouched():
        assert torch.equal(weights(3), weights(3))
        assert not torch.equal(weights(3), weights(4))


def test_bad_networks_are_refused():
    with pytest.raises(ValueError, match="activation is one of tanh, relu, leaky_relu, linear; .*"):
        make_mlp(activation="sigmoid")
    with pytest.raises(ValueError, match="at least an input and an output"):
        make_mlp((3,))


# Training


def blobs(n=400):
    """Two classes far apart on the first axis."""
    rng = np.random.default_rng(8)
    y = np.arange(n) % 2
    X = rng.standard_normal((n, SIZES[0]))
    X[:, 0] += 8.0 * y - 4.0
    return X, y


def make_trainer(seed=0, *, weights=0, **options):
    return Trainer(make_mlp(SIZES, seed=weights), *blobs(), sigmas=SIGMAS, seed=seed, **options)


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_equal_weights(one, other):
    assert list(one) == list(other)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_loss_falls_on_szt():
    X, y = make_szt()
    sigmas = dict.fromkeys(szt.HIDDEN, 0.005)
    trainer = Trainer(make_mlp(), X, y, sigmas=sigmas, learning_rate=4e-3)
    losses = [trainer.evaluate(X, y)[0]]
    trainer.train_until(10, lambda _epoch: losses.append(trainer.evaluate(X, y)[0]))
    assert len(losses) == 11
    assert losses[-1] < 0.45 < 0.65 < losses[0]
    assert trainer.evaluate(X, y)[1] > 0.8


def test_epochs_are_counted_from_where_training_is():
    trainer, seen = make_trainer(), []
    trainer.train_until(2, seen.append)
    trainer.train_until(2, seen.append)
    trainer.train_until(4, seen.append)
    assert seen == [1, 2, 3, 4]
    assert trainer.epoch == 4


def test_noise_is_on_in_training_and_off_elsewhere():
    trainer = make_trainer(batch_size=100)
    model, noise, clean = trainer.model, [], {}
    # Made first, this hook sees the output before its noise; layer2 sees it after.
    model.layer1.register_forward_hook(lambda _m, _a, output: clean.update(output=output))
    model.layer2.register_forward_pre_hook(
        lambda _m, args: noise.append((args[0] - clean["output"]).detach())
    )
    X, y = blobs()
    in_callback = []

    def after_epoch(_epoch):
        del noise[:-4]
        in_callback.append((trainer.evaluate(X, y), trainer.evaluate(X, y)))
        with torch.no_grad():
            model(torch.as_tensor(X, dtype=torch.float32))

    trainer.train_until(1, after_epoch)
    in_training = torch.stack(noise[:4])
    assert in_training.std().item() == close_to_std(SIGMAS["layer1"], in_training.numel())
    assert not torch.equal(in_training[0], in_training[1])
    assert len(noise) == 7
    assert all(added.abs().max() == 0 for added in noise[4:])
    assert in_callback[0][0] == in_callback[0][1]


def test_noise_modules_are_off_in_evaluation():
    model = nn.Sequential(nn.Linear(6, 4), GaussianNoise(5.0), nn.Linear(4, 2))
    trainer, evaluations = Trainer(model, *blobs()), []

    def after_epoch(_epoch):
        evaluations.extend(trainer.evaluate(*blobs()) for _ in range(2))

    trainer.train_until(1, after_epoch)
    assert evaluations[0] == evaluations[1]
    assert model[1].active is None


def test_evaluation_is_cross_entropy_in_nats_and_accuracy():
    trainer = make_trainer()
    X, y = blobs()
    trainer.model.layer2.eval()
    before = modes(trainer.model)
    loss, accuracy = trainer.evaluate(X, y)
    with torch.no_grad():
        scores = trainer.model(torch.as_tensor(X, dtype=torch.float32)).double().numpy()
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(shares[np.arange(len(y)), y]).mean(), rel=1e-5)
    assert accuracy == pytest.approx(np.mean(scores.argmax(axis=1) == y))
    assert modes(trainer.model) == before


@pytest.mark.parametrize(
    "options", [{}, {"parseval": 0.01, "shuffle_labels": True}, {"optimiser": "sgd"}]
)
def test_a_loaded_state_goes_on_to_the_same_bits(tmp_path, options):
    whole = make_trainer(**options)
    whole.train_until(5)
    half = make_trainer(**options)
    half.train_until(2)
    with open(tmp_path / "state", "wb") as file:
        half.save(file)
    again = make_trainer(weights=77, **options)
    again.load(tmp_path / "state")
    assert again.epoch == 2
    assert_equal_weights(weights_of(again), weights_of(half))
    again.train_until(5)
    assert_equal_weights(weights_of(again), weights_of(whole))
    assert again.evaluate(*blobs()) == whole.evaluate(*blobs())


def test_training_is_seeded_and_leaves_the_global_generator_alone():
    with global_state_untouched():
        trainers = [make_trainer(seed, shuffle_labels=True) for seed in (1, 1, 2)]
        for trainer in trainers:
            trainer.train_until(2)
    one, same, other = map(weights_of, trainers)
    assert_equal_weights(one, same)
    assert not torch.equal(one["layer1.0.weight"], other["layer1.0.weight"])


def test_the_noise_matters_for_training():
    noisy = make_trainer()
    quiet = Trainer(make_mlp(SIZES), *blobs(), seed=0)
    for trainer in (noisy, quiet):
        trainer.train_until(1)
    assert not torch.equal(
        weights_of(noisy)["layer1.0.weight"], weights_of(quiet)["layer1.0.weight"]
    )


def test_shuffled_labels_cannot_be_generalised():
    X, y = blobs()
    accuracy = {}
    for shuffle in (False, True):
        trainer = Trainer(
            make_mlp((6, 2)), X, y, learning_rate=0.05, shuffle_labels=shuffle, batch_size=100
        )
        trainer.train_until(10)
        accuracy[shuffle] = trainer.evaluate(X, y)[1]
    assert accuracy[False] > 0.99
    assert 0.2 < accuracy[True] < 0.8


def test_shuffled_labels_are_the_same_labels():
    # With constant inputs only the class shares can be learnt: a permutation keeps them.
    y = np.repeat([0, 1], [90, 10])
    trainer = Trainer(
        make_mlp((2, 2)), np.zeros((100, 2)), y, learning_rate=0.1, shuffle_labels=True
    )
    trainer.train_until(200)
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert trainer.evaluate(np.zeros((100, 2)), y)[0] == pytest.approx(entropy, abs=1e-3)


def test_parseval_steps_make_rows_orthonormal():
    generator = torch.Generator().manual_seed(0)
    wide = 0.5 * torch.randn(4, 9, generator=generator)
    tall = 0.5 * torch.randn(9, 4, generator=generator)
    expected = wide - 0.1 * (wide @ wide.T @ wide - wide)
    weights = [nn.Parameter(wide.clone()), nn.Parameter(tall.clone())]
    parseval_step(weights, 0.1)
    torch.testing.assert_close(weights[0].detach(), expected)
    for _ in range(500):
        parseval_step(weights, 0.1)
    torch.testing.assert_close(weights[0] @ weights[0].T, torch.eye(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(weights[1].T @ weights[1], torch.eye(4), atol=1e-4, rtol=0)
    assert all(weight.requires_grad and weight.grad is None for weight in weights)


def test_parseval_regularises_all_linear_layers_but_the_last():
    alpha = 0.05
    plain, regularised = make_trainer(batch_size=400), make_trainer(batch_size=400, parseval=alpha)
    for trainer in (plain, regularised):
        trainer.train_until(1)
    for name, value in weights_of(plain).items():
        after = weights_of(regularised)[name]
        if name.endswith("weight") and name != "output.weight":
            torch.testing.assert_close(after, value - alpha * (value @ value.T @ value - value))
            assert not torch.equal(after, value)
        else:
            assert torch.equal(after, value), name


def test_parseval_acts_after_each_batch():
    trainer = make_trainer(batch_size=10, parseval=0.05)
    trainer.train_until(5)
    for layer in (trainer.model.layer1, trainer.model.layer2, trainer.model.layer3):
        W = layer[0].weight.detach()
        torch.testing.assert_close(W @ W.T, torch.eye(len(W)), atol=0.1, rtol=0)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_of_torch_come_back(two_threads):
    trainer, inside = make_trainer(), []

    def break_at_two(epoch):
        inside.append(torch.get_num_threads())
        if epoch == 2:
            raise BrokenError

    with pytest.raises(BrokenError):
        trainer.train_until(3, break_at_two)
    assert torch.get_num_threads() == 2
    assert inside == [1, 1]
    trainer.train_until(4)
    assert torch.get_num_threads() == 2


def test_no_hooks_are_left_by_training():
    model = nn.Sequential(make_mlp(SIZES), Breaking(3), GaussianNoise(0.1))
    trainer = Trainer(model, *blobs(), sigmas={"0.layer1": 0.1})
    with pytest.raises(BrokenError):
        trainer.train_until(3)
    assert hooks(model) == []
    assert model[2].active is None
    trainer.train_until(3)
    assert hooks(model) == []


def test_training_gives_back_the_mode_it_found():
    trainer = make_trainer()
    trainer.model.eval()
    trainer.model.layer2.train()
    before = modes(trainer.model)
    trainer.train_until(1)
    assert modes(trainer.model) == before


def test_maps_are_flattened_only_when_asked_to():
    recorder = Recorder(make_conv_net().eval(), ["features.conv"])
    with pytest.raises(ValueError, match=r"'features\.conv' puts out .* flatten=True"):
        recorder.describe(images(2))


def test_a_damaged_state_of_the_training_is_named(tmp_path):
    (tmp_path / "training.pt").write_bytes(b"half of the state")
    with pytest.raises(RunError, match=r"training\.pt.*remove the file"):
        make_trainer().load(tmp_path / "training.pt")


def test_noise_that_is_not_on_record_is_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 2)

        def forward(self, x):
            return self.a(x) + torch.randn(2)

    with pytest.raises(ValueError, match="noise that the recorder does not know of"):
        Recorder(Noisy(), ["a"]).describe(torch.zeros(4, 3))


# Models that take or hand out more than one tensor


class TwoInputs(nn.Module):
    """Take two arrays and a flag, hand out a tuple."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 4), nn.Linear(2, 4), nn.Linear(4, 2)

    def forward(self, left, right, scale=True):
        hidden = torch.tanh(self.left(left) + self.right(right))
        return (2 * self.head(hidden) if scale else self.head(hidden)), hidden


@pytest.mark.parametrize("named", [False, True])
def test_models_of_several_inputs_are_recorded(X, rng, named):
    model, other = TwoInputs(), rng.standard_normal((50, 2))
    given = {"right": other, "left": X, "scale": False} if named else (X, other)
    recorder = Recorder(model, ["left", "head"], sigmas={"left": 0.1}, n_replicas=3, batch_size=20)
    arrays = recorded(recorder, given)
    with torch.no_grad():
        left = model.left(torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(arrays["left"], left, rtol=1e-5, atol=1e-6)
    assert arrays["head"].shape == (50, 3, 2)


@pytest.mark.parametrize("lengths", [(50, 49), ()])
def test_inputs_of_other_lengths_are_refused(lengths):
    given = tuple(torch.zeros(n, 2) for n in lengths)
    with pytest.raises(ValueError, match="first axis of every array"):
        Recorder(TwoInputs(), ["left"]).describe(given)


class Attentive(nn.Module):
    """Tokens through a transformer layer, averaged."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.encode = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.encode(self.embed(tokens)).mean(1))


def test_transformer_layers_are_recorded_whole_and_inside(rng):
    model, tokens = Attentive(), rng.integers(0, 10, (20, 5))
    recorder = Recorder(
        model, ["encode", "encode.linear1", "head"], sigmas={"embed": 0.1}, n_replicas=2,
        flatten=True,
    )  # fmt: skip
    arrays = recorded(recorder, tokens)
    assert {name: array.shape for name, array in arrays.items()} == {
        "encode.linear1": (20, 2, 80), "encode": (20, 2, 40), "head": (20, 2, 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("encode.self_attn", r"'encode\.self_attn' hands out a tuple, not a tensor; name a sub"),
        ("encode.self_attn.out_proj", r"not used when the model runs; .* record the parent"),
        ("encode", r"puts out \(5, 8\) values an input; .*flatten=True"),
    ],
)
def test_what_has_no_row_an_input_says_what_to_do(rng, layer, message):
    model, tokens = Attentive(), rng.integers(0, 10, (20, 5))
    with pytest.raises((TypeError, ValueError), match=message):
        Recorder(model, [layer]).describe(tokens)
    assert hooks(model) == []


def test_a_layer_that_folds_inputs_into_rows_is_refused():
    class Folding(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x):
            return self.inner(x.reshape(-1, 3)).reshape(len(x), -1)

    with pytest.raises(ValueError, match=r"'inner' puts out shape \(2, 2\) for one input"):
        Recorder(Folding(), ["inner"]).describe(torch.zeros(5, 6))


def test_parameters_that_are_not_made_yet_are_an_error():
    model = nn.Sequential(nn.LazyLinear(3))
    with (
        global_state_untouched(),
        pytest.raises(ValueError, match="run it once, then record it"),
    ):
        Recorder(model, ["0"]).describe(torch.zeros(5, 2))


def test_noise_of_unknown_size_in_a_layer_is_found_behind_other_results():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(6, 4)

        def forward(self, x):
            return {"value": [nn.functional.dropout(self.first(x), training=True)]}

    with pytest.raises(ValueError, match="noise that the recorder does not know of"):
        Recorder(Hidden(), ["first"]).describe(torch.ones(5, 6))


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
    model, same, other = make_cnn(seed=1), make_cnn(seed=1, dropout=0.2), make_cnn(seed=2)
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
        model, ["conv1", "pool1"], sigmas={"conv1": 0.1}, n_replicas=8, flatten=True
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


def test_a_step_of_gradient_descent():
    model = nn.Linear(2, 2)
    X, y = torch.tensor([[1.0, 2.0], [-1.0, 0.5]]), torch.tensor([0, 1])
    nn.functional.cross_entropy(model(X), y).backward()
    expected = model.weight.detach() - 0.1 * model.weight.grad
    trainer = Trainer(model, X, y, optimiser="sgd", learning_rate=0.1, batch_size=2)
    trainer.train_until(1)
    torch.testing.assert_close(model.weight.detach(), expected)


def test_an_unknown_optimiser_names_those_there_are():
    with pytest.raises(ValueError, match="one of adam, sgd; got 'lbfgs'"):
        Trainer(nn.Linear(2, 2), np.zeros((2, 2)), np.zeros(2), optimiser="lbfgs")


@pytest.mark.parametrize("word", ["channel_mean", "spam", "", 1, None])
def test_flatten_is_true_or_false(word):
    with pytest.raises(ValueError, match=f"flatten is True, for all values.* got {word!r}"):
        Recorder(make_mlp((4, 3, 2)), ["layer1"], flatten=word)
