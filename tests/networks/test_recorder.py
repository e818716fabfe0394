"""What is recorded of a network that runs."""

import contextlib
import itertools
import tempfile

import numpy as np
import pytest
import torch
from torch import nn

from skinfo.networks import (
    GaussianDropout,
    GaussianNoise,
    LayerNoise,
    LogNormalDropout,
    Recorder,
)
from skinfo.runs import Layer, RunWriter, open_run
from skinfo.szt import Trainer, make_mlp

from .small_networks import (
    NAMES,
    SIGMAS,
    SIZES,
    Breaking,
    BrokenError,
    global_state_untouched,
    hooks,
    images,
    make_conv_net,
    modes,
    outputs_of,
    recorded,
)


def test_the_first_layer_is_recorded_without_noise_exactly(X):
    model = make_mlp(SIZES)
    arrays = recorded(Recorder(model, NAMES, sigma=SIGMAS, n_replicas=4), X)
    with torch.no_grad():
        np.testing.assert_array_equal(arrays["layer1"], model.layer1(torch.as_tensor(X)).numpy())
    assert {name: array.shape for name, array in arrays.items()} == {
        "layer1": (50, 5), "layer2": (50, 4, 4), "layer3": (50, 4, 3),
    }  # fmt: skip
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_replicas_have_fresh_noise(X):
    arrays = recorded(Recorder(make_mlp(SIZES), NAMES, sigma=SIGMAS, n_replicas=4), X)
    for name in ("layer2", "layer3"):
        for one in range(4):
            for other in range(one):
                assert np.all(np.any(arrays[name][:, one] != arrays[name][:, other], axis=-1))


def test_a_layer_is_recorded_before_its_own_noise(X):
    model, x = make_mlp(SIZES), torch.as_tensor(X)
    arrays = recorded(Recorder(model, NAMES, sigma={"layer2": 0.5}, n_replicas=3), X)
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
    model = make_mlp((3, 4, 3, 2), activation="linear", random_state=2)
    X = rng.standard_normal((100, 3))
    recorder = Recorder(
        model, ["layer1", "layer2"], sigma={"layer1": sigma, "layer2": 9.0},
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
    recorder = Recorder(model, NAMES, sigma={"layer1": 1e-3}, n_replicas=3, batch_size=batch_size)
    arrays = recorded(recorder, X)
    assert arrays["layer2"].shape == (50, 3, 4)
    clean = outputs_of(model, torch.as_tensor(X))
    np.testing.assert_allclose(arrays["layer1"], clean["layer1"].numpy(), rtol=1e-5, atol=1e-6)
    # Every row of every replica was written, by its own input.
    error = arrays["layer2"] - clean["layer2"].numpy()[:, None]
    assert np.abs(error).max() < 0.02


@pytest.mark.parametrize("n_replicas", [1, 2, 5])
def test_replicas_are_as_many_as_asked_for(X, n_replicas):
    recorder = Recorder(make_mlp(SIZES), ["layer2"], sigma=SIGMAS, n_replicas=n_replicas)
    assert recorded(recorder, X)["layer2"].shape == (50, n_replicas, 4)


@pytest.mark.parametrize("options", [{"n_replicas": 0}, {"batch_size": 0}, {"n_replicas": 2.5}])
def test_nothing_to_record_is_an_error(options):
    with pytest.raises(ValueError, match="n_replicas and batch_size must be at least 1"):
        Recorder(make_mlp(SIZES), NAMES, **options)


def test_layers_come_in_network_order(X):
    recorder = Recorder(
        make_mlp(SIZES), ["output", "layer3", "layer1", "layer2"], sigma=SIGMAS, n_replicas=2
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

    recorder = Recorder(Backwards(), ["last", "first"], sigma={"first": 0.1})
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
    recorder = Recorder(make_mlp(SIZES), NAMES, sigma=sigmas, n_replicas=2)
    assert [layer.noise_before for layer in recorder.describe(X)] == noise_before
    arrays = recorded(recorder, X)
    assert [arrays[name].ndim == 3 for name in NAMES] == noise_before


def test_noise_of_a_layer_that_is_not_recorded_counts(X):
    recorder = Recorder(make_mlp(SIZES), ["layer2.0"], sigma={"layer1": 0.1}, n_replicas=2)
    assert recorder.describe(X) == (Layer("layer2.0", 0.0, True),)
    assert recorded(recorder, X)["layer2.0"].shape == (50, 2, 4)


def test_of_noise_modules_the_input_is_recorded(X):
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
    recorder = Recorder(model, ["1", "2"], sigma={"1": 0.4}, n_replicas=300)
    spread = np.std(recorded(recorder, X)["2"], axis=1, ddof=1).mean()
    assert recorder.describe(X)[0].sigma == pytest.approx(spread, rel=0.02)


MODULES = {
    "multiplicative": GaussianDropout(0.5),
    "lognormal": LogNormalDropout(0.5),
    "affine": LayerNoise((0.3, (0.1, 0.2, 0.3, 0.4)), "affine"),
}


@pytest.mark.parametrize(("noise", "module"), MODULES.items(), ids=list(MODULES))
def test_noise_modules_are_recognised_and_make_replicas_of_their_noise(X, noise, module):
    """Behind the noise there is T itself: its spread given S is that of the model's formula."""
    model = nn.Sequential(nn.Linear(6, 4), module, nn.Identity())
    recorder = Recorder(model, ["1", "2"], n_replicas=500)
    assert recorder.describe(X) == (Layer("1", module.sigma, False, noise), Layer("2", 0.0, True))
    arrays = recorded(recorder, X)
    with torch.no_grad():
        S = model[0](torch.as_tensor(X)).numpy()
    np.testing.assert_array_equal(arrays["1"], S)
    T = arrays["2"].astype(np.float64).transpose(1, 0, 2)
    if noise == "lognormal":
        np.testing.assert_array_equal(np.sign(T), np.broadcast_to(np.sign(S), T.shape))
        T, S, spread = np.log(np.abs(T)), np.log(np.abs(S)), np.full(S.shape, 0.5)
    elif noise == "multiplicative":
        spread = 0.5 * np.abs(S)
    else:
        spread = np.hypot(0.3, np.array([0.1, 0.2, 0.3, 0.4]) * S)
    np.testing.assert_allclose(T.std(axis=0), spread, rtol=5 / np.sqrt(2 * len(T)))
    assert np.abs((T.mean(axis=0) - S) / spread).max() < 5 / np.sqrt(len(T))


def test_layers_are_recorded_with_the_noise_that_is_named(X):
    model = make_mlp(SIZES, activation="relu")
    kinds = {"layer1": "multiplicative", "layer3": "lognormal"}
    recorder = Recorder(model, NAMES, sigma=SIGMAS, noise=kinds, n_replicas=3)
    assert recorder.describe(X) == (
        Layer("layer1", 0.1, False, "multiplicative"),
        Layer("layer2", 0.2, True),
        Layer("layer3", 0.3, True, "lognormal"),
    )
    arrays = recorded(recorder, X)
    assert [array.shape for array in arrays.values()] == [(50, 5), (50, 3, 4), (50, 3, 3)]
    with torch.no_grad():
        first = model.layer1(torch.as_tensor(X)).numpy()
    np.testing.assert_array_equal(arrays["layer1"], first)
    # Where the first layer is dead there is no noise for the second.
    with torch.no_grad():
        model.layer1[0].bias.fill_(-100)
    still = recorded(recorder, X)["layer2"]
    np.testing.assert_array_equal(still, np.broadcast_to(still[:1, :1], still.shape))


def test_noise_that_adds_up_to_one_model_does_and_other_noise_is_refused(X):
    for kind, noise in ((GaussianNoise, "additive"), (LogNormalDropout, "lognormal")):
        model = nn.Sequential(kind((0.3, 0.6)), nn.Identity())
        (layer,) = Recorder(model, ["0"], sigma=0.4, noise=noise).describe(X[:, :2])
        assert layer.noise == noise
        assert layer.sigma == pytest.approx((0.5, np.sqrt(0.52)))
    for module, noise in (
        (GaussianDropout(0.3), "multiplicative"),
        (GaussianDropout(0.3), "additive"),
        (GaussianNoise(0.3), "lognormal"),
    ):
        message = f"'0' has {module.noise} noise of its own, and with {noise} noise after"
        with pytest.raises(ValueError, match=message):
            Recorder(nn.Sequential(module), ["0"], sigma=0.4, noise=noise)
    assert Recorder(nn.Sequential(module), ["0"], sigma=0.0).noisy == {"0": Layer("0", 0.3)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": {"layer2": (0.1, 0.2)}}, r"'layer2': sigma must be .* shape \(4,\); got .*\(2,"),
        ({"sigma": 0.1, "noise": "binary"}, r"'layer1': noise is one of 'additive', .*'binary'"),
        ({"sigma": {"layer2": 0.1}, "noise": {"layer3": "affine"}}, "noise names layer 'layer3'"),
        ({"sigma": 0.1, "noise": "affine"}, r'noise="affine" takes sigma=\(a, b\)'),
        ({"sigma": {"layer2": (0.1, 0.2, 0.0, 1)}}, "positive .* in every unit; unit 2 has 0"),
    ],
)
def test_noise_that_cannot_be_is_refused(X, options, message):
    with pytest.raises(ValueError, match=message):
        Recorder(make_mlp(SIZES), NAMES, **options).describe(X)


def test_convolutional_layers_are_recorded():
    model, x = make_conv_net().eval(), images(20)
    recorder = Recorder(
        model,
        ["features.conv", "head.0"],
        sigma={"features.conv": 0.1},
        n_replicas=2,
        flatten="all",
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

    recorder = Recorder(Twice(), ["tanh"], sigma={"a": 0.1})
    with pytest.raises(ValueError, match="'tanh'"):
        recorder.describe(X)


def test_recording_an_unknown_layer_lists_the_layers():
    with pytest.raises(TypeError, match="list of names, also of one alone; got 'layer1'"):
        Recorder(make_mlp(SIZES), "layer1")
    with pytest.raises(ValueError, match="no layer 'layer9'; it has: layer1, .*output"):
        Recorder(make_mlp(SIZES), ["layer1", "layer9"])


def test_one_sigma_is_that_of_every_recorded_layer(X):
    recorder = Recorder(make_mlp(SIZES), NAMES[:2], sigma=0.1)
    assert recorder.noisy == {name: Layer(name, 0.1) for name in ("layer1", "layer2")}


def test_without_a_random_state_noise_is_fresh_in_every_recording(X):
    recorder = Recorder(make_mlp(SIZES), NAMES, sigma=0.1, n_replicas=2, random_state=None)
    assert not np.array_equal(*(recorded(recorder, X)["layer2"] for _ in range(2)))


@pytest.mark.parametrize("sigmas", [{"layer9": 0.1}, {"layer1": -0.1}])
def test_recording_with_noise_that_cannot_be_is_an_error(X, sigmas):
    model = make_mlp(SIZES)
    with pytest.raises(ValueError, match=next(iter(sigmas))):
        recorded(Recorder(model, NAMES, sigma=sigmas), X)
    assert hooks(model) == []


def test_a_layer_that_does_not_run_is_an_error(X):
    model = make_mlp(SIZES)
    model.layer1.spare = nn.Linear(2, 2)
    model.layer1.forward = model.layer1[0].forward
    with pytest.raises(ValueError, match=r"Layer 'layer1\.spare' is not called"):
        Recorder(model, ["layer1", "layer1.spare"]).describe(X)
    assert hooks(model) == []


def test_recording_is_seeded_and_leaves_the_global_generator_alone(X):
    model = nn.Sequential(make_mlp(SIZES), nn.Dropout(0.5))

    def record(seed):
        recorder = Recorder(model, ["0.layer2"], sigma={"0.layer1": 0.1}, random_state=seed)
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
    recorder = Recorder(model, ["0.layer2", "2"], sigma={"0.layer1": 0.1}, n_replicas=2)
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
        model, ["0.layer1", "0.layer2"], sigma={"0.layer1": 0.1}, batch_size=20, n_replicas=2
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
    recorder = Recorder(make_mlp(SIZES), NAMES, sigma=SIGMAS, n_replicas=2)
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


def test_recorded_arrays_make_a_run(X, tmp_path):
    recorder = Recorder(make_mlp(SIZES), NAMES, sigma=SIGMAS, n_replicas=3)
    writer = RunWriter(tmp_path, recorder.describe(X), labels=np.arange(50) % 2)
    with recorder.record(X) as arrays:
        writer.add(1, arrays)
    run = open_run(tmp_path)
    expected = recorded(recorder, X)
    for name in NAMES:
        np.testing.assert_array_equal(run.load(1, name).array, expected[name])
    rows = run.load(1, "layer3").replicas()
    assert rows.X.shape == (150, 3)
    assert not rows.replicas_missing


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
    recorder = Recorder(model, ["left", "head"], sigma={"left": 0.1}, n_replicas=3, batch_size=20)
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
        model, ["encode", "encode.linear1", "head"], sigma={"embed": 0.1}, n_replicas=2,
        flatten="all",
    )  # fmt: skip
    arrays = recorded(recorder, tokens)
    assert {name: array.shape for name, array in arrays.items()} == {
        "encode.linear1": (20, 2, 80), "encode": (20, 2, 40), "head": (20, 2, 3),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("encode.self_attn", r"'encode\.self_attn' returns a tuple, not a tensor; name a sub"),
        ("encode.self_attn.out_proj", r"not called when the model runs; .* record the parent"),
        ("encode", r"returns \(5, 8\) values per input; .*flatten='all'"),
    ],
)
def test_outputs_without_one_row_per_input_say_what_to_do(rng, layer, message):
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

    with pytest.raises(ValueError, match=r"'inner' returns shape \(2, 2\) for one input"):
        Recorder(Folding(), ["inner"]).describe(torch.zeros(5, 6))


def test_parameters_that_are_not_made_yet_are_an_error():
    model = nn.Sequential(nn.LazyLinear(3))
    with (
        global_state_untouched(),
        pytest.raises(ValueError, match="run it once before you record it"),
    ):
        Recorder(model, ["0"]).describe(torch.zeros(5, 2))


class Always(nn.Module):
    """Dropout in evaluation mode, too."""

    def __init__(self, dropout):
        super().__init__()
        self.dropout = dropout

    def forward(self, x):
        return self.dropout.train()(x)


@pytest.mark.parametrize(
    "dropout",
    [
        nn.Dropout(0.2), nn.Dropout1d(0.2), nn.AlphaDropout(0.2), nn.FeatureAlphaDropout(0.2),
        nn.TransformerEncoderLayer(6, 2, 8, 0.2, batch_first=True),
    ],
)  # fmt: skip
def test_dropout_that_leaves_units_out_has_infinite_information(rng, dropout):
    X = rng.standard_normal((20, 4, 6))
    recorder = Recorder(nn.Sequential(nn.Linear(6, 6), Always(dropout)), ["1"], flatten="all")
    with pytest.raises(ValueError, match=r"infinite for continuous .*GaussianDropout\(.*\(p"):
        recorder.describe(X)
    # In its own mode it is off, and what is recorded is a function of the input.
    off = Recorder(nn.Sequential(nn.Linear(6, 6), dropout), ["1"], flatten="all")
    assert off.describe(X) == (Layer("1", 0.0, False),)


def test_noise_of_unknown_size_in_a_layer_is_found_behind_other_results():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(6, 4)

        def forward(self, x):
            return {"value": [nn.functional.rrelu(self.first(x), training=True)]}

    with pytest.raises(ValueError, match="noise that the recorder does not know of"):
        Recorder(Hidden(), ["first"]).describe(torch.ones(5, 6))


# Maps and sequences become units as chosen


@pytest.mark.parametrize(
    ("flatten", "expected"),
    [
        ("token_mean", lambda S: S.mean(axis=1)),
        ("token_last", lambda S: S[:, -1]),
        (1, lambda S: S[:, 1]),
        ("all", lambda S: S.reshape(len(S), -1)),
        ({"embed": 0}, lambda S: S[:, 0]),
        (lambda rows: rows[:, 2:4].sum(axis=1), lambda S: S[:, 2:4].sum(axis=1)),
    ],
)
def test_tokens_become_units_as_chosen(rng, flatten, expected):
    model, tokens = Attentive(), rng.integers(0, 10, (20, 5))
    values = model.embed(torch.as_tensor(tokens)).detach().numpy()
    found = recorded(Recorder(model, ["embed"], flatten=flatten), tokens)["embed"]
    np.testing.assert_allclose(found, expected(values), rtol=1e-6)


@pytest.mark.parametrize(
    ("flatten", "expected"),
    [
        ("channel_mean", lambda S: S.mean(axis=(2, 3))),
        ({"features.conv": "spatial"}, lambda S: S.mean(axis=1).reshape(len(S), -1)),
        (lambda maps: maps[:, 0].reshape(len(maps), -1), lambda S: S[:, 0].reshape(len(S), -1)),
    ],
)
def test_maps_become_units_as_chosen(flatten, expected):
    model, x = make_conv_net(), images(30)
    values = model.features.conv(x).detach().numpy()
    recorder = Recorder(model, ["features.conv"], flatten=flatten)
    found = recorded(recorder, x)["features.conv"]
    np.testing.assert_allclose(found, expected(values), rtol=1e-5, atol=1e-6)


def test_replicas_of_pooled_maps_lie_between_inputs_and_units():
    recorder = Recorder(
        make_conv_net(), ["features.pool"], sigma={"features.conv": 0.1}, n_replicas=3,
        flatten="channel_mean",
    )  # fmt: skip
    assert recorded(recorder, images(10))["features.pool"].shape == (10, 3, 4)


@pytest.mark.parametrize("word", ["spam", "", True])
def test_an_unknown_flatten_is_refused(word):
    with pytest.raises(ValueError, match=f"flatten must be one of .* got {word!r}"):
        Recorder(make_mlp((4, 3, 2)), ["layer1"], flatten=word)


@pytest.mark.parametrize(
    ("flatten", "message"),
    [
        ("tokens", "'encode': flatten='tokens' makes each token an input of its own"),
        (7, "'encode': has 5 tokens"),
        (lambda rows: rows, "'encode': the callable returned shape"),
        ({"embed": "all"}, "flatten names 'embed', which is not a layer of encode"),
    ],
)
def test_a_flatten_that_does_not_fit_is_refused(rng, flatten, message):
    with pytest.raises(ValueError, match=message):
        Recorder(Attentive(), ["encode"], flatten=flatten).describe(rng.integers(0, 10, (20, 5)))


# What is recorded of an input depends on nothing but the input


class Function(nn.Module):
    """A function of modules and inputs; its result is the layer "out"."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts, self.out = function, nn.ModuleList(parts), nn.Identity()

    def forward(self, x):
        return self.out(self.function(*self.parts, x))


def batch_norm(n):
    return nn.BatchNorm1d(n, track_running_stats=False)


def conv_and_norm(conv, norm, x):
    return norm(conv(x))


OF_THE_BATCH = {
    "statistics of maps": (conv_and_norm, nn.Conv1d(6, 2, 2), batch_norm(2)),
    "recurrent": (lambda rnn, x: rnn(x)[0], nn.RNN(6, 3)),
    "attention": (lambda layer, x: layer(x), nn.TransformerEncoderLayer(6, 2, 8)),
    "one row": (lambda x: x.mean(0, keepdim=True),),
    "a little": (lambda x: x - 0.01 * x.mean(0),),
    "those before": (lambda x: x.cumsum(0),),
    "their number": (lambda x: x / len(x),),
    "the place": (lambda x: x + torch.arange(len(x))[:, None, None],),
    "the rank": (lambda x: x.argsort(0),),
    "an even number": (lambda x: x[: max(1, len(x) // 2 * 2)],),
    "the first row alone": (lambda x: torch.cat([x[:1] + x.sum(0), x[1:]]),),
}


@pytest.mark.parametrize("batch_size", [4096, 7])
@pytest.mark.parametrize("parts", OF_THE_BATCH.values(), ids=list(OF_THE_BATCH))
def test_layers_that_depend_on_other_inputs_are_refused(rng, parts, batch_size):
    model = Function(*parts)
    recorder = Recorder(model, ["out"], flatten="all", batch_size=batch_size)
    with pytest.raises(ValueError, match="another output for an input where others|its first axis"):
        recorded(recorder, rng.standard_normal((60, 6, 6)))
    assert hooks(model) == []


def test_a_model_that_needs_several_inputs_is_refused(X):
    with pytest.raises(ValueError, match="fails on one input alone .Expected more than 1 value"):
        Recorder(nn.Sequential(batch_norm(6)), ["0"]).describe(X)


@pytest.mark.parametrize("layer", ["out", "parts.0"])
def test_a_batch_that_is_not_like_those_tried_is_refused(X, layer):
    """The input that changes what runs lies in the last batch, and is not among those tried."""
    many = np.zeros((300, 6), np.float32)
    many[298, 0] = 1.0
    ways = {
        "out": lambda linear, x: linear(x)[: len(x) - int(x.any())],
        "parts.0": lambda linear, x: x if x.any() else linear(x),
    }
    with pytest.raises(ValueError, match="for 2 inputs; its first axis|is not called"):
        recorded(Recorder(Function(ways[layer], nn.Linear(6, 6)), [layer], batch_size=2), many)
    twice = Function(lambda linear, x: linear(linear(x)) if x.any() else linear(x), nn.Linear(6, 6))
    with pytest.raises(ValueError, match="runs more than once"):
        recorded(Recorder(twice, ["parts.0"], batch_size=2), many)
    wider = Function(lambda x: x[:, : 1 + int(x.any())])
    with pytest.raises(ValueError, match="1 units for some inputs and 2 for others"):
        recorded(Recorder(wider, ["out"], batch_size=2), many)


@pytest.mark.parametrize("depth", [1, 8])
def test_rounding_and_what_it_turns_over_are_no_dependence(rng, depth):
    class Spikes(nn.Module):
        def forward(self, x):
            return (x > 0).to(x.dtype)

    sizes = [6, *[100] * depth]
    model = nn.Sequential(
        *(nn.Sequential(nn.Linear(*pair), Spikes()) for pair in itertools.pairwise(sizes))
    )
    X = rng.standard_normal((300, 6))
    assert recorded(Recorder(model, [str(depth - 1)]), X)[str(depth - 1)].shape == (300, 100)
    smooth = make_mlp((6, *[100] * depth, 2)).bfloat16()
    layer = f"layer{depth}"
    assert recorded(Recorder(smooth, [layer]), X)[layer].dtype == np.float32


# Noise that nobody declared


def functional_dropout(n_units, p):
    return Function(lambda linear, x: linear(nn.functional.dropout(x, p)), nn.Linear(6, n_units))


class Sometimes(nn.Module):
    """Noise at every so many calls."""

    def __init__(self, period):
        super().__init__()
        self.calls, self.period = 0, period

    def forward(self, x):
        self.calls += 1
        return x if self.calls % self.period else x + torch.randn_like(x)


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (functional_dropout(64, 0.5), "out"),
        (functional_dropout(3, 0.1), "out"),
        (functional_dropout(3, 0.005), "out"),
        (nn.Sequential(Sometimes(2)), "0"),
        (nn.Sequential(Sometimes(15)), "0"),
        (Function(lambda x: x + torch.randn_like(x) * (x[:, :1] > 2)), "out"),
        (Function(lambda x: x + torch.as_tensor(np.random.random(len(x)))[:, None]), "out"),  # noqa: NPY002
    ],
)
def test_noise_of_unknown_size_is_found_whatever_the_first_input(rng, model, layer):
    X = rng.standard_normal((300, 6))
    X[0] = 0
    with pytest.raises(
        ValueError, match="noise that the recorder does not know of|leaves units out"
    ):
        Recorder(model, [layer]).describe(X)


def test_noise_in_one_pass_of_ten_is_found(X):
    found = 0
    for seed in range(20):
        torch.manual_seed(seed)
        model = Function(lambda x: x + torch.randn_like(x) * (torch.rand(1) < 0.1))
        with contextlib.suppress(ValueError):
            Recorder(model, ["out"]).describe(np.repeat(X, 6, axis=0))
            found -= 1
        found += 1
    assert found >= 17


def test_noise_modules_that_were_switched_on_are_known(X):
    model = nn.Sequential(nn.Linear(6, 4), GaussianNoise(0.2))
    model[1].active = True
    assert Recorder(model, ["1"]).describe(X) == (Layer("1", 0.2, False),)
    assert model[1].active is True


def test_recording_leaves_the_global_generator_to_the_training(X):
    model = Function(lambda x: x + 0 * torch.rand(1))
    with global_state_untouched():
        recorded(Recorder(model, ["out"]), X)


# Numbers are recorded as they are, or refused


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda x: x > 0, np.float32),
        (lambda x: (100 * x).to(torch.int16), np.float32),
        (lambda x: 2**24 + torch.arange(x.numel()).reshape(x.shape), np.float64),
        (lambda x: -(2**53) + torch.arange(x.numel()).reshape(x.shape) * 2**40, np.float64),
        (lambda x: x.to(torch.bfloat16), np.float32),
        (lambda x: x.half(), np.float32),
        (lambda x: x.to(torch.float8_e4m3fn), np.float32),
        (lambda x: 1 + x.double() / 2**40, np.float64),
    ],
)
def test_numbers_are_recorded_exactly(X, make, dtype):
    x = torch.as_tensor(X)
    one_at_a_time = Recorder(Function(make), ["out"], batch_size=len(X))
    with pytest.MonkeyPatch.context() as patch:
        # Counting makes them depend on the batch, which is not the question here.
        patch.setattr("skinfo.networks.checks._check_rows", lambda *_: None)
        found = recorded(one_at_a_time, X)["out"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, make(x).to(torch.float64).numpy())


@pytest.mark.parametrize(
    ("make", "flatten", "message"),
    [
        (torch.fft.fft, None, "'out' returns complex numbers"),
        (
            lambda x: x,
            {"out": lambda rows: 1j * rows},
            "'out': holds complex64, where real numbers",
        ),
        (lambda x: torch.full_like(x, 2**53 + 1, dtype=torch.int64), None, "beyond 2.53"),
        (lambda x: torch.full_like(x, -(2**62), dtype=torch.int64), None, "beyond 2.53"),
    ],
)
def test_numbers_that_no_recording_holds_are_refused(X, make, flatten, message):
    with pytest.raises(ValueError, match=message):
        Recorder(Function(make), ["out"], flatten=flatten).describe(X)


@pytest.mark.parametrize("named", [False, True])
def test_masked_inputs_are_refused(X, named):
    masked = np.ma.masked_greater(X, 0)
    with pytest.raises(ValueError, match="holds masked values"):
        Recorder(TwoInputs(), ["left"]).describe({"left": X, "right": masked} if named else masked)
    with pytest.raises(ValueError, match="holds masked values"):
        Trainer(make_mlp(SIZES), masked, np.zeros(50))


def test_inputs_take_the_type_of_weights_that_are_no_codes(X):
    model = nn.Sequential(nn.Linear(6, 3))
    model.register_parameter("codes", nn.Parameter(torch.zeros(3, dtype=torch.int8), False))
    assert next(model.parameters()).dtype == torch.int8
    found = recorded(Recorder(model, ["0"]), X)["0"]
    np.testing.assert_array_equal(found, model[0](torch.as_tensor(X)).detach().numpy())


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layer", ["layers.0", "layers.1.linear1"])
def test_nested_tensors_name_the_layer_and_what_to_do(rng, layer):
    def model(nested):
        one = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return nn.TransformerEncoder(one, 2, enable_nested_tensor=nested)

    padded = torch.arange(5) >= torch.arange(1, 21)[:, None] % 5 + 1
    given = {"src": rng.standard_normal((20, 5, 8)), "src_key_padding_mask": padded}
    with pytest.raises(ValueError, match=f"'{layer}': .*enable_nested_tensor=False"):
        Recorder(model(True), [layer], flatten="all").describe(given)
    assert len(recorded(Recorder(model(False), [layer], flatten="all"), given)[layer]) == 20
