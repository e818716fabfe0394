"""Runs recorded batch by batch."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skinfo import open_run
from skinfo.networks import record_run
from skinfo.networks.layers import choose_layers
from skinfo.runs import Layer
from skinfo.szt import make_mlp

from .small_networks import (
    NAMES,
    SIGMAS,
    SIZES,
    images,
    make_conv_net,
    outputs_of,
)

LABELS = np.arange(50) % 3


def arrays_of(run, epoch=0):
    return {layer.name: run.store.read(epoch, layer.name) for layer in run.layers}


@pytest.fixture(name="path")
def make_path(tmp_path):
    return tmp_path / "run"


def as_array(X):
    return {"batches": X, "labels": LABELS}


def as_dict_of_arrays(X):
    return {"batches": {"input": X, "topic": LABELS}, "labels": "topic"}


def as_loader(X):
    data = TensorDataset(torch.as_tensor(X), torch.as_tensor(LABELS))
    return {"batches": DataLoader(data, batch_size=8)}


def as_list(X):
    return {"batches": [X[:13], X[13:14], X[14:]], "labels": LABELS}


def as_dicts(X):
    parts = np.split(np.arange(50), [13, 14])
    return {"batches": ({"input": X[rows], "labels": LABELS[rows].tolist()} for rows in parts)}


@pytest.mark.parametrize("kind", [as_array, as_dict_of_arrays, as_loader, as_list, as_dicts])
def test_whatever_gives_batches_the_run_holds_what_the_layers_return(X, path, kind):
    model = make_mlp(SIZES)
    run = record_run(model, **kind(X), path=path, layers="layer*", batch_size=8)
    assert [layer.name for layer in run.layers] == NAMES
    assert run.labels.tolist() == LABELS.tolist()
    expected = outputs_of(model, torch.as_tensor(X))
    for name, array in arrays_of(run).items():
        np.testing.assert_allclose(array, expected[name].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("features", ["features"]),
        ("features.*", ["features.conv", "features.relu", "features.pool"]),
        ("*", ["features", "flatten", "head"]),
        ("*.[01]", ["head.0", "head.1"]),
        ("**.pool", ["features.pool"]),
        (nn.Linear, ["head.0", "head.2"]),
        (["head.2", nn.Conv2d, "head.*"], ["head.2", "features.conv", "head.0", "head.1"]),
    ],
)
def test_layers_are_chosen_by_name_pattern_and_type(layers, names):
    assert choose_layers(make_conv_net(), layers) == names


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("feature.conv", "'feature.conv'; the nearest names are: features.conv"),
        ("heads.*", r"the nearest names are: head"),
        (nn.GELU, "no GELU; it has: Sequential, Conv2d, ReLU"),
        ([], "layers is empty"),
    ],
)
def test_layers_that_nothing_matches_are_an_error_with_the_nearest_names(path, layers, message):
    with pytest.raises(ValueError, match=message):
        record_run(make_conv_net(), images(4), path, layers=layers)
    assert not path.exists()


def test_maps_are_kept_as_they_are_or_pooled_on_the_way(path):
    model, x = make_conv_net(), images(20)
    run = record_run(
        model, x, path, layers=["features.conv", "features.pool", "head.1"],
        flatten={"features.pool": "channel_mean"}, batch_size=6,
    )  # fmt: skip
    expected = outputs_of(model, x)
    arrays = arrays_of(run)
    np.testing.assert_allclose(
        arrays["features.conv"], expected["features.conv"].numpy(), atol=1e-6
    )
    np.testing.assert_allclose(
        arrays["features.pool"], expected["features.pool"].mean((2, 3)).numpy(), atol=1e-6
    )
    assert open_run(path, flatten="all").load(0, "features.conv").array.shape == (20, 4 * 36)


def test_replicas_have_the_noise_of_the_layers_before(X, path):
    model = make_mlp(SIZES)
    options = {"layers": NAMES, "sigma": SIGMAS, "n_replicas": 200, "batch_size": 20}
    run = record_run(model, X, path, **options)
    assert run.layers == (
        Layer("layer1", 0.1), Layer("layer2", 0.2, True), Layer("layer3", 0.3, True)
    )  # fmt: skip
    arrays = arrays_of(run)
    assert [array.shape for array in arrays.values()] == [(50, 5), (50, 200, 4), (50, 200, 3)]
    with torch.no_grad():
        clean = model.layer1(torch.as_tensor(X))
    np.testing.assert_allclose(arrays["layer1"], clean.numpy(), atol=1e-6)
    assert len(np.unique(arrays["layer2"].reshape(-1, 4), axis=0)) == 50 * 200
    again = arrays_of(record_run(model, X, path.with_name("again"), **options))
    other = arrays_of(record_run(model, X, path.with_name("other"), **options, random_state=1))
    np.testing.assert_array_equal(arrays["layer3"], again["layer3"])
    assert np.mean(arrays["layer3"] == other["layer3"]) < 0.01
