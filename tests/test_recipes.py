"""One training, exported to every framework: each recipe records the same activations."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skinfo import ClusteringScore, NoisyMIEstimator, information_flow, open_run
from skinfo.datasets import make_szt
from skinfo.monitoring import FlowMonitor
from skinfo.networks import Recorder
from skinfo.runs import Layer, RunWriter
from skinfo.szt import Trainer, make_mlp

RECIPES = Path(__file__).parents[1] / "examples" / "recipes"
SIGMA = 0.1
NAMES = ["layer1", "layer2", "layer3"]
CLEAN = [Layer(name, 0.0) for name in NAMES]
NOISY = [Layer(name, SIGMA, noise_before=k > 0) for k, name in enumerate(NAMES)]
#: Needs the extra of that name; the others run with every test.
FRAMEWORKS = [
    "sklearn_mlp",
    *(pytest.param(name, marks=pytest.mark.recipes)
      for name in ("keras_callback", "jax_function", "onnx_outputs")),
]  # fmt: skip

pytestmark = [
    # Keras' own, about how it turns tensors into arrays.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    # Of torch's exporter, about itself.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprec:FutureWarning"),
]


def load(name):
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


@pytest.fixture(scope="module", name="data")
def make_data():
    """Every sixteenth input of the SZT task."""
    X, y = make_szt()
    return X[::16].astype(np.float32), y[::16]


@pytest.fixture(scope="module", name="trained")
def train():
    model = make_mlp((12, 10, 7, 5, 2))
    trainer = Trainer(model, *make_szt(), learning_rate=5e-3)
    trainer.train_until(4)
    return model


def weights_of(model):
    """(W of shape (n_in, n_out), b) of every linear map."""
    return [
        (module.weight.detach().numpy().T.copy(), module.bias.detach().numpy().copy())
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]


def torch_activations(model, X, *, sigma=0.0, n_replicas=1, random_state=0):
    recorder = Recorder(model, NAMES, sigma=sigma, n_replicas=n_replicas, random_state=random_state)
    with recorder.record(X) as arrays:
        return {name: np.array(array) for name, array in arrays.items()}


def in_keras(recipe, weights, X, tmp_path):
    model = recipe.make_model()
    set_keras_weights(model, weights)
    return lambda layers, **options: recipe.record(model, X, layers, **options)


def set_keras_weights(model, weights):
    dense = [layer for layer in model.layers if hasattr(layer, "kernel")]
    for layer, (W, b) in zip(dense, weights, strict=True):
        layer.kernel.assign(W)
        layer.bias.assign(b)


def in_jax(recipe, weights, X, tmp_path):
    return lambda layers, **options: recipe.record(weights, X, layers, **options)


def in_onnx(recipe, weights, X, tmp_path):
    model = make_mlp((12, 10, 7, 5, 2))
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for module, (W, b) in zip(linear, weights, strict=True):
            module.weight.copy_(torch.as_tensor(W.T))
            module.bias.copy_(torch.as_tensor(b))
    graph = recipe.export(model, tmp_path / "model.onnx")
    tensors = recipe.tensors_after(graph, "Tanh", CLEAN)
    return lambda layers, **options: recipe.record(graph, X, layers, tensors, **options)


def in_sklearn(recipe, weights, X, tmp_path):
    network = recipe.MLPClassifier((10, 7, 5), activation="tanh", random_state=0)
    network.partial_fit(X[:8], np.arange(8) % 2, classes=[0, 1])
    network.coefs_, network.intercepts_ = map(list, zip(*weights, strict=True))
    return lambda layers, **options: recipe.record(network, X, layers, **options)


EXPORTS = {
    "keras_callback": in_keras, "jax_function": in_jax, "onnx_outputs": in_onnx,
    "sklearn_mlp": in_sklearn,
}  # fmt: skip


@pytest.fixture(name="record")
def make_record(name, trained, data, tmp_path):
    return EXPORTS[name](load(name), weights_of(trained), data[0], tmp_path)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_records_what_torch_does(record, trained, data, tmp_path):
    X, y = data
    estimators = [NoisyMIEstimator(SIGMA, tol=0.02, random_state=0), ClusteringScore()]
    tables = {}
    for framework, arrays in {"torch": torch_activations(trained, X), "it": record(CLEAN)}.items():
        writer = RunWriter(tmp_path / framework, CLEAN, labels=y)
        writer.add(4, arrays)
        run = open_run(tmp_path / framework)
        tables[framework] = run, information_flow(estimators, run, progress=False)
    (expected, torch_flow), (found, flow) = tables.values()
    for layer in NAMES:
        np.testing.assert_allclose(found.array(4, layer), expected.array(4, layer), atol=1e-5)
    assert flow["quantity"].tolist() == torch_flow["quantity"].tolist()
    for quantity in ("mutual_info", "label_mutual_info", "auc"):
        values, wanted = (t[t["quantity"] == quantity]["value"] for t in (flow, torch_flow))
        assert len(values) == 3
        np.testing.assert_allclose(values, wanted, atol=1e-4)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_noise_is_fresh_seeded_and_of_its_sigma(record, trained, data):
    n_replicas = 40
    arrays = record(NOISY, n_replicas=n_replicas, random_state=3)
    expected = torch_activations(trained, data[0], sigma=SIGMA, n_replicas=n_replicas)
    assert {layer: array.shape for layer, array in arrays.items()} == {
        layer: array.shape for layer, array in expected.items()
    }
    np.testing.assert_allclose(arrays["layer1"], expected["layer1"], atol=1e-5)
    for layer in NAMES[1:]:
        for statistic in (np.mean, np.std):
            ours, theirs = (statistic(found[layer], axis=1) for found in (arrays, expected))
            # Of 40 replicas; the mean over inputs averages what is left.
            assert np.abs(ours - theirs).mean() < 0.35 * expected[layer].std(axis=1).mean()
            np.testing.assert_allclose(ours.mean(0), theirs.mean(0), rtol=0.05, atol=0.01)
        assert len(np.unique(arrays[layer][0], axis=0)) == n_replicas
        assert len(np.unique(arrays[layer][:, 0], axis=0)) == len(data[0])
    one, again, other = (record(NOISY, n_replicas=2, random_state=seed) for seed in (3, 3, 4))
    for layer in NAMES[1:]:
        np.testing.assert_array_equal(one[layer], again[layer])
        assert np.mean(one[layer] == other[layer]) < 0.01


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_noisy_information_is_that_of_torch(record, trained, data):
    estimator = NoisyMIEstimator(sigma=None, tol=0.02, random_state=0)
    values = {}
    for framework, arrays in {
        "torch": torch_activations(trained, data[0], sigma=SIGMA, n_replicas=24, random_state=1),
        "it": record(NOISY, n_replicas=24, random_state=1),
    }.items():
        run = open_run({(4, n): x for n, x in arrays.items()}, labels=data[1], sigma=SIGMA)
        flow = information_flow(estimator, run, progress=False)
        values[framework] = flow[flow["quantity"] == "mutual_info"].set_index("layer")
    one, other = values.values()
    for layer in NAMES:
        assert one.loc[layer, "value"] == pytest.approx(other.loc[layer, "value"], abs=0.08)
        assert one.loc[layer, "lower"] < other.loc[layer, "upper"]
        assert other.loc[layer, "lower"] < one.loc[layer, "upper"]


@pytest.mark.parametrize("name", ["torch_hooks", *FRAMEWORKS])
def test_recipes_run_as_they_stand(name, data, tmp_path, monkeypatch, capsys):
    recipe = load(name)
    monkeypatch.setattr(recipe, "make_szt", lambda: (data[0].astype(np.float64), data[1]))
    flow = recipe.main(tmp_path / "run", checkpoints=(1, 2))
    run = open_run(tmp_path / "run")
    assert run.epochs == [1, 2]
    assert [layer.name for layer in run.layers] == NAMES
    values = flow[flow["quantity"] == "mutual_info"]["value"]
    assert len(values) == 6
    assert (values > 0.05).all()
    assert (values <= np.log(256)).all()
    assert "layer3" in capsys.readouterr().out
    if name != "sklearn_mlp":
        assert run.layers == tuple(NOISY)
        assert run.array(2, "layer3").shape == (256, 8, 5)


# The monitor of a Keras training


def keras_model(keras, *, sigma=SIGMA):
    """Named as in torch, with noise, dropout and statistics that a measurement could disturb."""
    hidden = []
    for name, n_units in zip(NAMES, (10, 7, 5), strict=True):
        hidden += [keras.layers.Dense(n_units, activation="tanh", name=name)]
        hidden += [keras.layers.GaussianNoise(sigma, name=f"noise_{name}")]
    more = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
    return keras.Sequential([keras.Input((12,)), *hidden, *more, keras.layers.Dense(2)])


def fit_keras(keras, data, monitor_of=None, epochs=3):
    keras.utils.set_random_seed(0)
    model = keras_model(keras)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    monitor = None if monitor_of is None else monitor_of(model)
    callbacks = [] if monitor is None else [monitor.keras_callback()]
    model.fit(*data, epochs=epochs, batch_size=64, verbose=0, callbacks=callbacks)
    return [np.array(keras.ops.convert_to_numpy(w.value)) for w in model.weights], monitor


@pytest.fixture(name="keras")
def import_keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    return keras


def check_the_training_is_undisturbed(keras, data, tmp_path):
    alone, _ = fit_keras(keras, data)
    options = {"n_replicas": 3, "path": tmp_path / "flow.csv"}
    estimator = NoisyMIEstimator(sigma=None, tol=0.1, random_state=0)
    watched, monitor = fit_keras(
        keras,
        data,
        lambda model: FlowMonitor(
            model, [f"noise_{name}" for name in NAMES], estimator, *data, **options
        ),
    )
    assert all(map(np.array_equal, alone, watched))
    assert monitor.epochs == [1, 2, 3]
    assert set(monitor.losses[3]) == {"accuracy", "loss"}
    table = monitor.table[monitor.table["quantity"] == "mutual_info"]
    assert len(table) == 9
    assert table["value"].nunique() == 9
    assert (tmp_path / "flow.csv").exists()


@pytest.mark.recipes
def test_a_keras_training_with_a_monitor_gives_the_same_weights(keras, data, tmp_path):
    check_the_training_is_undisturbed(keras, data, tmp_path)


@pytest.mark.recipes
def test_so_it_does_with_jax_behind_keras(tmp_path):
    """Keras has one backend a process."""
    code = f"""
import os, sys, warnings
warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
sys.path.insert(0, {str(Path(__file__).parent)!r})
import keras
assert keras.backend.backend() == "jax"
from pathlib import Path
import numpy as np
import test_recipes as t
X, y = t.make_szt()
data = X[::16].astype(np.float32), y[::16]
t.check_the_training_is_undisturbed(keras, data, Path({str(tmp_path)!r}))
print("the same")
"""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout.split() == ["the", "same"], found.stderr


@pytest.mark.recipes
def test_what_the_monitor_of_keras_records_is_what_torch_does(keras, trained, data):
    from skinfo.monitoring.keras_recorder import KerasRecorder

    model = keras_model(keras, sigma=0.0)
    set_keras_weights_of(model, trained)
    recorder = KerasRecorder(
        model, NAMES[::-1], sigma={"layer2": SIGMA}, n_replicas=30, batch_size=100
    )
    assert recorder.describe(data[0]) == (
        Layer("layer1", 0.0, False), Layer("layer2", SIGMA, False), Layer("layer3", 0.0, True),
    )  # fmt: skip
    torch_recorder = Recorder(trained, NAMES, sigma={"layer2": SIGMA}, n_replicas=30)
    with recorder.record(data[0]) as found, torch_recorder.record(data[0]) as expected:
        assert {name: x.shape for name, x in found.items()} == {
            name: x.shape for name, x in expected.items()
        }
        for name in ("layer1", "layer2"):
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
        spread, wanted = (x["layer3"].std(axis=1).mean(axis=0) for x in (found, expected))
        np.testing.assert_allclose(spread, wanted, rtol=0.05)
        with recorder.record(data[0]) as again:
            np.testing.assert_array_equal(again["layer3"], found["layer3"])


def set_keras_weights_of(model, trained):
    weights = weights_of(trained)
    for layer, (W, b) in zip([model.get_layer(name) for name in NAMES], weights, strict=False):
        layer.kernel.assign(W)
        layer.bias.assign(b)


@pytest.mark.recipes
def test_keras_models_of_several_inputs_are_recorded(keras, rng):
    from skinfo.monitoring.keras_recorder import KerasRecorder

    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    joined = keras.layers.Concatenate(name="joined")([left, right])
    image = keras.layers.Reshape((5, 1), name="image")(joined)
    model = keras.Model([left, right], keras.layers.Flatten()(image))
    a, b = (rng.standard_normal((6, n)).astype(np.float32) for n in (3, 2))
    for given in ((a, b), {"right": b, "left": a}):
        with KerasRecorder(model, ["joined", "image"], flatten=True).record(given) as found:
            np.testing.assert_array_equal(found["image"], np.concatenate([a, b], axis=1))
    for given, message in (({"left": a}, "X has no 'right'"), ((a, b[:3]), "one row an input")):
        with (
            pytest.raises(ValueError, match=message),
            KerasRecorder(model, ["joined"]).record(given),
        ):
            pytest.fail("recorded")
    with pytest.raises(ValueError, match=r"'image' puts out \(5, 1\) values an input; .*flatten"):
        KerasRecorder(model, ["image"])


@pytest.mark.recipes
def test_keras_models_that_cannot_be_followed_say_so(keras, data):
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    def refused(model, *layers, **options):
        return lambda: FlowMonitor(model, layers, ClusteringScore(), *data, **options)

    model, shared = keras_model(keras), keras.layers.Dense(12, name="shared")
    inputs = keras.Input((12,))
    twice = keras.Model(inputs, shared(shared(inputs)))
    inner = keras.Sequential([keras.layers.GaussianNoise(0.1)], name="inner")
    nested = keras.Model(inputs, keras.layers.Dense(2, name="last")(inner(inputs)))
    cases = [
        (refused(Subclassed(), "a"), "Subclassed has no graph to follow"),
        (refused(keras.Sequential([keras.layers.Dense(2)]), "dense"), "no graph to follow"),
        (refused(model, "layer9"), "no layer 'layer9'; it has: .*layer1"),
        (refused(model, "layer1", sigma={"layer1": -1.0}), "sigma of layer 'layer1' must be >= 0"),
        (refused(model, "layer1", n_replicas=0), "must be at least 1"),
        (refused(twice, "shared"), "'shared' runs more than once"),
        (refused(nested, "last"), "Model 'inner' inside the model has noise of its own"),
    ]
    for make, message in cases:
        with pytest.raises(ValueError, match=message):
            make()
