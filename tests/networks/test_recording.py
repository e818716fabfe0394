"""Runs recorded batch by batch."""

import contextlib
import os
import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skinfo import NoisyMIEstimator, open_run
from skinfo.errors import RunError
from skinfo.networks import GaussianNoise, record_run
from skinfo.networks.layers import choose_layers
from skinfo.networks.pieces import _File
from skinfo.runs import Layer
from skinfo.szt import make_mlp

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
    with pytest.raises(ValueError, match="no submodules; put it into an nn.Sequential"):
        record_run(nn.Linear(3, 2), np.eye(3), path, layers="0")
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
    options = {"layers": NAMES, "sigma": SIGMAS, "n_replicas": 40, "batch_size": 20}
    run = record_run(model, X, path, **options)
    assert run.layers == (
        Layer("layer1", 0.1), Layer("layer2", 0.2, True), Layer("layer3", 0.3, True)
    )  # fmt: skip
    arrays = arrays_of(run)
    assert [array.shape for array in arrays.values()] == [(50, 5), (50, 40, 4), (50, 40, 3)]
    with torch.no_grad():
        clean = model.layer1(torch.as_tensor(X))
    np.testing.assert_allclose(arrays["layer1"], clean.numpy(), atol=1e-6)
    assert len(np.unique(arrays["layer2"].reshape(-1, 4), axis=0)) == 50 * 40
    again = arrays_of(record_run(model, X, path.with_name("again"), **options))
    other = arrays_of(record_run(model, X, path.with_name("other"), **options, random_state=1))
    np.testing.assert_array_equal(arrays["layer3"], again["layer3"])
    assert np.mean(arrays["layer3"] == other["layer3"]) < 0.01


# What a model gives, of any kind


def test_of_tuples_and_mappings_the_first_tensor_is_recorded_or_a_chosen_one(path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.LSTM(3, 4, batch_first=True))
    x = torch.randn(6, 5, 3)
    with torch.no_grad():
        steps, (last, _) = model[0](x)
    run = record_run(model, x, path, layers="0")
    np.testing.assert_allclose(arrays_of(run)["0"], steps.numpy(), atol=1e-6)
    path = path.with_name("last")
    run = record_run(model, x, path, layers="0", output=lambda out: out[1][0][-1])
    np.testing.assert_allclose(arrays_of(run)["0"], last[-1].numpy(), atol=1e-6)


class InMapping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 3)
        self.outer = Named(self.inner)

    def forward(self, x):
        return self.outer(x)["last_hidden_state"]


class Named(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return {"last_hidden_state": self.inner(x), "other": None}


def test_a_mapping_is_recorded_by_its_first_tensor(X, path):
    model = InMapping()
    arrays = arrays_of(record_run(model, X, path, layers=["outer", "inner"]))
    np.testing.assert_array_equal(arrays["outer"], arrays["inner"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.float64])
def test_the_numbers_are_those_of_the_model_s_type(X, path, dtype):
    model = make_mlp(SIZES).to(dtype)
    run = record_run(model, X, path, layers="layer1")
    with torch.no_grad():
        expected = model.layer1(torch.as_tensor(X).to(dtype))
    array = arrays_of(run)["layer1"]
    assert array.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    np.testing.assert_array_equal(array, expected.to(torch.float64).numpy())


def test_an_outer_autocast_counts(X, path):
    model = make_mlp(SIZES)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        run = record_run(model, X, path, layers="layer1.0")
        expected = model.layer1[0](torch.as_tensor(X))
    assert expected.dtype == torch.bfloat16
    np.testing.assert_array_equal(arrays_of(run)["layer1.0"], expected.float().numpy())


@pytest.mark.parametrize("at_call", [1, 400])
def test_modes_hooks_and_generators_are_as_before_even_after_an_exception(X, path, at_call):
    breaking = Breaking(at_call)
    model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), breaking, nn.Linear(4, 2)).train()
    model[3].eval()
    before = modes(model)
    with global_state_untouched():
        context = pytest.raises(BrokenError) if at_call == 1 else contextlib.nullcontext()
        with context:
            record_run(model, X, path, layers="*", keep_dropout=True, n_replicas=2)
    assert modes(model) == before
    assert not hooks(model)
    assert path.exists() == (at_call > 1)


# Checkpoints, and recordings that were interrupted


def test_another_call_adds_a_checkpoint(X, path):
    model = make_mlp(SIZES)
    record_run(model, X, path, layers=NAMES, labels=LABELS, losses={"loss": 2.0})
    with torch.no_grad():
        model.layer1[0].bias += 1
    run = record_run(model, X, path, layers=NAMES, labels=LABELS, epoch=3)
    assert run.epochs == [0, 3]
    assert run.losses == {0: {"loss": 2.0}}
    with torch.no_grad():
        expected = model.layer1(torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(arrays_of(run, 3)["layer1"], expected, atol=1e-6)
    with pytest.raises(RunError, match="another run exists already: its layers differ"):
        record_run(model, X, path, layers="layer1", labels=LABELS, epoch=4)
    with pytest.raises(RunError, match="another run exists already: its labels differ"):
        record_run(model, X, path, layers=NAMES, labels=LABELS + 1, epoch=4)


def test_an_epoch_of_the_same_state_is_left_and_one_of_another_is_an_error(X, path):
    model = make_mlp(SIZES)
    record_run(model, X, path, layers=NAMES)
    file = path / "epoch_00000000.npz"
    before = file.stat().st_mtime_ns
    with pytest.warns(UserWarning, match="recorded before, of the same state of the model"):
        record_run(model, iter(()), path, layers=NAMES)
    assert file.stat().st_mtime_ns == before
    with pytest.raises(RunError, match=r"with another n_replicas \(24 then, 3 now\)"):
        record_run(model, X, path, layers=NAMES, n_replicas=3)
    with torch.no_grad():
        model.layer1[0].bias += 1
    with pytest.raises(RunError, match="another state of the model"):
        record_run(model, X, path, layers=NAMES)
    open_run(path).load(0, "layer1")
    (path / ".recording" / "00000000" / "key.json").unlink()
    with pytest.raises(RunError, match="not known of which state"):
        record_run(model, X, path, layers=NAMES)


class Calls:
    """Count the passes of a model, and interrupt one of them."""

    def __init__(self, model):
        self.n, self.stop_at = 0, None
        model.register_forward_hook(self)

    def __call__(self, *_):
        self.n += 1
        if self.n == self.stop_at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("cut", [False, True])
def test_an_interrupted_recording_goes_on_where_it_stopped(X, path, cut):
    model = make_mlp(SIZES)
    options = {"layers": NAMES, "sigma": SIGMAS, "n_replicas": 2, "labels": LABELS}
    batches = np.split(X, [11, 22, 33, 44])
    calls = Calls(model.layer3)
    whole = record_run(model, batches, path.with_name("whole"), **options)
    checks = calls.n - 10
    # In the second pass over the fourth batch.
    calls.n, calls.stop_at = 0, checks + 8
    with pytest.raises(KeyboardInterrupt):
        record_run(model, iter(batches), path, **options)
    if cut:
        journal = path / ".recording" / "00000000" / "batches.jsonl"
        journal.write_text(journal.read_text() + '{"digest": "12')
    calls.n, calls.stop_at = 0, None
    done = []
    run = record_run(
        model, iter(batches), path, **options, progress=lambda n, total: done.append((n, total))
    )
    assert calls.n == checks + 4
    assert done == [(n, None) for n in range(1, 6)]
    for name, array in arrays_of(whole).items():
        np.testing.assert_array_equal(arrays_of(run)[name], array)
    assert [file.name for file in (path / ".recording").rglob("*.*")] == ["key.json"]


def interrupted(model, batches, path, **options):
    def first_two():
        yield from batches[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_run(model, first_two(), path, layers=NAMES, **options)


def test_a_recording_does_not_go_on_with_what_is_another(X, path):
    model, batches = make_mlp(SIZES), np.split(X, 5)
    interrupted(model, batches, path)
    with pytest.raises(ValueError, match="Batch 1 is not the one that was recorded before"):
        record_run(model, [batches[0], *batches[2:]], path, layers=NAMES)
    with pytest.raises(ValueError, match="ended after 0, where 2 were recorded before. An iterat"):
        record_run(model, iter(()), path, layers=NAMES)
    with pytest.raises(RunError, match="with another random_state"):
        record_run(model, batches, path, layers=NAMES, random_state=1)
    with pytest.raises(RunError, match="with another output"):
        record_run(model, batches, path, layers=NAMES, output=lambda out: out + 1)
    model.layer1[0].weight.data += 1
    with pytest.raises(RunError, match="remove .*00000000") as error:
        record_run(model, batches, path, layers=NAMES)
    model.layer1[0].weight.data -= 1
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(RunError, match="another state of the model"),
    ):
        record_run(model, batches, path, layers=NAMES)
    model.layer1[1] = nn.ReLU()
    with pytest.raises(RunError, match="another state of the model"):
        record_run(model, batches, path, layers=NAMES)
    shutil.rmtree(str(error.value).split("remove ")[1].split(",")[0])
    assert len(arrays_of(record_run(model, batches, path, layers=NAMES))["layer1"]) == 50


def test_two_calls_do_not_record_one_epoch_at_once(X, path):
    def batches():
        yield X
        record_run(make_mlp(SIZES), X, path, layers=NAMES)

    with pytest.raises(RunError, match="another process is writing this run"):
        record_run(make_mlp(SIZES), batches(), path, layers=NAMES)


def test_memory_does_not_grow_with_the_number_of_batches(path):
    """Each gives about 2 MiB; what is written is buffered in 16 MiB."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.mixed = nn.Embedding(12, 256), nn.Tanh()

        def forward(self, input_ids):
            return self.mixed(self.embedding(input_ids))

    model = Tokens()

    def peak(n_batches):
        ids = (torch.ones(64, 24 + k % 9, dtype=torch.long) for k in range(n_batches))
        batches = ({"input_ids": x, "attention_mask": x} for x in ids)
        tracemalloc.start()
        record_run(model, batches, path.with_name(f"{n_batches}"), layers="mixed")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak(1)  # what is imported then
    assert peak(24) < 1.1 * peak(12)


# Bad input


def test_batches_that_give_nothing_are_an_error(X, path):
    batches = iter([X])
    record_run(make_mlp(SIZES), batches, path, layers=NAMES)
    with pytest.raises(ValueError, match="ended after 0. An iterator or a generator gives its"):
        record_run(make_mlp(SIZES), batches, path, layers=NAMES, epoch=1)
    with pytest.raises(TypeError, match="loader, a list or an iterator of batches; got a int"):
        record_run(make_mlp(SIZES), 3, path, layers=NAMES, epoch=1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Flatten(0), r"returns shape \(6,\) for one input; its first axis must be that"),
        (Breaking(0), None),
        (nn.Softmax(0), "gives another output for an input where"),
    ],
)
def test_layers_that_are_no_functions_of_their_input_are_an_error(X, path, model, message):
    context = contextlib.nullcontext() if message is None else pytest.raises(
        ValueError, match=message
    )  # fmt: skip
    with context:
        record_run(nn.Sequential(model), X, path, layers="0")
    assert path.exists() == (message is None)


def test_a_model_that_is_random_in_evaluation_mode_is_an_error(X, path):
    class Random(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    with pytest.raises(ValueError, match="gives two results for one input"):
        record_run(nn.Sequential(Random()), X, path, layers="0")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"input": 0}, None),
        ({"inputs": 0}, "Batch 1: the keys change: 'input' is in the first batch, not in this"),
        ({"input": 0, "a": 0}, "Batch 1: the keys change: 'a' is not in the first batch"),
    ],
)
def test_keys_must_not_change(X, path, second, message):
    batches = [{"input": X}, dict.fromkeys(second, X)]
    context = contextlib.nullcontext() if message is None else pytest.raises(
        ValueError, match=message
    )  # fmt: skip
    with context:
        record_run(make_mlp(SIZES), batches, path, layers=NAMES)


def test_a_key_that_is_named_must_be_there(X, path):
    for options in ({"labels": "topic"}, {"mask": "real"}):
        with pytest.raises(ValueError, match="there is no key '(topic|real)'; there are: input"):
            record_run(make_mlp(SIZES), [{"input": X}], path, layers=NAMES, **options)


def test_shapes_that_change_without_a_mask_are_an_error(path):
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"of shape \(5, 2\).*and <f4 of shape \(4, 2\) in the"):
        record_run(model, [torch.zeros(2, 4, 3), torch.zeros(2, 5, 3)], path, layers="0")


def test_labels_are_one_per_input(X, path):
    for labels in (LABELS[:7], np.zeros((50, 3, 2), int)):
        with pytest.raises(ValueError, match=r"Batch 0: labels have shape \(.*\) for 50 inputs"):
            record_run(make_mlp(SIZES), [{"input": X, "labels": labels}], path, layers=NAMES)
    with pytest.raises(ValueError, match="labels"):
        record_run(make_mlp(SIZES), X, path, layers=NAMES, labels=LABELS[:7])


def test_a_loader_leaves_torch_s_generator_as_it_was(X, path):
    loader = DataLoader(TensorDataset(torch.as_tensor(X)), batch_size=16, shuffle=True)
    with global_state_untouched():
        record_run(make_mlp(SIZES), loader, path, layers=NAMES)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="there is no such call")
def test_a_batch_has_its_room_on_disk_before_it_is_written(path):
    """A page without room would end the process, with no exception, where the disk is full."""
    path.touch()
    values = _File(path, "<f4", (256, 1024)).map("r+")
    assert path.stat().st_blocks * 512 >= values.nbytes


def test_labels_in_the_order_of_the_inputs_are_not_those_of_a_loader_that_shuffles(X, path):
    loader = DataLoader(TensorDataset(torch.as_tensor(X)), batch_size=16, shuffle=True)
    for labels in (LABELS, {"topic": LABELS}):
        with pytest.raises(ValueError, match="the loader shuffles them: take shuffle=False"):
            record_run(make_mlp(SIZES), loader, path, layers=NAMES, labels=labels)
    assert not path.exists()


# Tokens, with padding


class Encoder(nn.Module):
    """Tokens that look at the real ones of their sequence; the first unit of each is its kind."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.embedding.weight.data[:, 0] = torch.arange(12) % 3
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mixed, self.pooled = nn.Linear(8, 5), nn.Identity()

    def forward(self, input_ids, attention_mask):
        x = self.embedding(input_ids)
        padding = attention_mask == 0
        mixed = self.mixed(x + self.attention(x, x, x, key_padding_mask=padding)[0])
        return self.pooled(mixed.masked_fill(padding[:, :, None], 0).sum(1))


SEQUENCES = [
    torch.randint(1, 12, (n,), generator=torch.Generator().manual_seed(n)).tolist()
    for n in (3, 1, 5, 2, 2, 4, 7, 1, 6)
]


def padded(sequences, side, pad=0):
    longest = max(map(len, sequences))

    def pad_to(rows, value):
        fill = [[value] * (longest - len(row)) for row in rows]
        pairs = zip(rows, fill, strict=True)
        return torch.tensor([row + f if side == "right" else f + row for row, f in pairs])

    return {
        "input_ids": pad_to(sequences, pad),
        "attention_mask": pad_to([[1] * len(row) for row in sequences], 0),
        "token_labels": pad_to([[i % 3 for i in row] for row in sequences], -100),
    }


def token_batches(side="right", **options):
    return [padded(SEQUENCES[start : start + 4], side, **options) for start in (0, 4, 8)]


def alone(model, sequence):
    """What each layer gives for a sequence without padding, in a pass of its own."""
    found = {}
    handles = [
        module.register_forward_hook(lambda _m, _a, out, name=name: found.update({name: out}))
        for name, module in model.named_children()
    ]
    with torch.no_grad():
        model(torch.tensor([sequence]), torch.ones(1, len(sequence)))
    for handle in handles:
        handle.remove()
    return {
        name: (out[0] if isinstance(out, tuple) else out)[0].numpy() for name, out in found.items()
    }


@pytest.mark.parametrize("side", ["right", "left"])
def test_of_real_tokens_the_run_holds_what_the_model_gives_without_padding(path, side):
    model = Encoder().eval()
    labels = {"kind": "token_labels", "length": np.array(list(map(len, SEQUENCES)))}
    run = record_run(model, iter(token_batches(side)), path, layers="*", labels=labels)
    arrays = arrays_of(run)
    assert run.mask.sum(axis=1).tolist() == [len(s) for s in SEQUENCES]
    assert arrays["attention"].shape == (9, 7, 8)
    assert arrays["pooled"].shape == (9, 5)
    assert not arrays["mixed"][~run.mask].any()
    for row, sequence in enumerate(SEQUENCES):
        for name, expected in alone(model, sequence).items():
            values = arrays[name][row]
            values = values[run.mask[row]] if values.ndim == 2 else values
            np.testing.assert_allclose(values, expected, atol=1e-5)
    tokens = open_run(path, flatten="tokens").load(0, "embedding")
    assert tokens.array[:, 0].tolist() == [i % 3 for s in SEQUENCES for i in s]
    np.testing.assert_array_equal(tokens.label_sets["kind"], tokens.array[:, 0])
    assert tokens.label_sets["length"].tolist() == [len(s) for s in SEQUENCES for _ in s]


@pytest.mark.parametrize(
    ("flatten", "pool"),
    [
        ("token_mean", lambda x: x.mean(axis=0)),
        ("token_last", lambda x: x[-1]),
        (0, lambda x: x[0]),
        (lambda x: np.nanmax(x, axis=1), lambda x: x.max(axis=0)),
    ],
)
def test_tokens_are_pooled_on_the_way_without_padding(path, flatten, pool):
    model = Encoder().eval()
    options = {"flatten": dict.fromkeys(["mixed", "embedding"], flatten), "labels": None}
    batches = [{k: b[k] for k in ("input_ids", "attention_mask")} for b in token_batches()]
    run = record_run(model, batches, path, layers=["mixed", "embedding"], **options)
    assert run.mask is None
    for row, sequence in enumerate(SEQUENCES):
        for name, array in arrays_of(run).items():
            expected = pool(alone(model, sequence)[name])
            np.testing.assert_allclose(array[row], expected, atol=1e-5)


def test_what_padding_holds_is_nowhere_in_the_run(path):
    model = Encoder().eval()
    options = {"layers": "embedding", "labels": "token_labels"}
    first = arrays_of(record_run(model, token_batches(), path, **options))
    model.embedding.weight.data[0] = torch.nan
    second = record_run(model, token_batches(), path, epoch=1, **options)
    np.testing.assert_array_equal(first["embedding"], arrays_of(second, 1)["embedding"])
    assert np.isfinite(open_run(path, flatten="token_mean").load(1, "embedding").array).all()


def test_tokens_behind_noise_have_replicas(path):
    model = Encoder()
    run = record_run(
        model, token_batches(), path, layers=["embedding", "mixed"], sigma={"embedding": 0.1},
        n_replicas=3, labels="token_labels",
    )  # fmt: skip
    assert {name: array.shape for name, array in arrays_of(run).items()} == {
        "embedding": (9, 7, 8), "mixed": (9, 3, 7, 5),
    }  # fmt: skip
    mixed = arrays_of(run)["mixed"]
    assert not mixed.transpose(0, 2, 1, 3)[~run.mask].any()
    rows = open_run(path, flatten="tokens").load(0, "mixed")
    assert rows.array.shape == (sum(map(len, SEQUENCES)), 3, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda b: {"input_ids": b["input_ids"], "attention_mask": b["attention_mask"][:, :-1]},
            "'embedding' returns shape",
        ),
        (
            lambda b: b | {"attention_mask": b["attention_mask"][:, :, None]},
            "Batch 0: 'attention_mask' has shape",
        ),
        (
            lambda b: b | {"attention_mask": b["attention_mask"][:3]},
            "Batch 0: 'attention_mask' has",
        ),
        (lambda b: b | {"token_labels": b["token_labels"][:, 1:]}, "Batch 0: labels have shape"),
        (
            lambda b: (
                b | {"attention_mask": b["attention_mask"] * torch.tensor([[1], [1], [0], [1]])}
            ),
            "Batch 0: 'attention_mask' is false for every token of input 2",
        ),
    ],
)
def test_masks_that_do_not_fit_are_an_error(path, change, message):
    class OnlyTokens(Encoder):
        def forward(self, input_ids):
            return self.embedding(input_ids)

    batch = change(token_batches()[0])
    with pytest.raises(ValueError, match=message):
        record_run(
            OnlyTokens(), [batch], path, layers="embedding",
            labels="token_labels" if "token_labels" in batch else None,
        )  # fmt: skip
    assert not path.exists()


def test_labels_of_padding_without_a_mask_warn_of_their_share(path):
    class WithoutMask(Encoder):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace(pad_token_id=0)

        def forward(self, input_ids):
            return self.embedding(input_ids)

    batch = padded(SEQUENCES, "right")
    del batch["attention_mask"]
    # 31 of 63 tokens are real.
    with pytest.warns(UserWarning, match="51% of the tokens are padding"):
        record_run(WithoutMask(), [batch], path, layers="embedding", labels="token_labels")
    with_mask = padded(SEQUENCES, "right")
    run = record_run(
        WithoutMask(), [with_mask], path.with_name("masked"), layers="embedding",
        labels="token_labels",
    )  # fmt: skip
    assert run.mask.sum() == 31


def test_each_token_as_an_input_is_a_choice_of_reading(path):
    with pytest.raises(ValueError, match="record a run with its tokens as they are, and open that"):
        record_run(
            Encoder(),
            token_batches(),
            path,
            layers="mixed",
            flatten="tokens",
            labels="token_labels",
        )


# Dropout that is kept


@pytest.fixture(name="dropping")
def make_dropping():
    layers = nn.Linear(6, 4), nn.Dropout(0.3), nn.Linear(4, 3), GaussianNoise(0.5), nn.Dropout(0.6)
    return nn.Sequential(*layers)


def test_replicas_have_the_dropout_that_the_layers_before_have(X, path, dropping):
    run = record_run(dropping, X, path, layers="*", keep_dropout=True, n_replicas=300)
    assert run.layers == (
        Layer("0", 0.0), Layer("1", 0.0, True), Layer("2", 0.0, True), Layer("3", 0.5, True),
        Layer("4", 0.0, True),
    )  # fmt: skip
    arrays = arrays_of(run)
    kept = arrays["1"] != 0
    # Of 60,000 units, whose share has a standard error of .0019.
    assert kept.mean() == pytest.approx(0.7, abs=0.01)
    assert len(np.unique(kept.reshape(-1, 4), axis=0)) == 16
    clean = np.broadcast_to(arrays["0"][:, None] / 0.7, kept.shape)
    np.testing.assert_allclose(arrays["1"][kept], clean[kept], rtol=1e-5)
    with torch.no_grad():
        behind = dropping[2](torch.as_tensor(arrays["1"])).numpy()
    np.testing.assert_allclose(arrays["2"], behind, atol=1e-5)
    kept = arrays["4"] != 0
    assert kept.mean() == pytest.approx(0.4, abs=0.01)
    noise = 0.4 * arrays["4"] - arrays["3"]
    assert noise[kept].std() == pytest.approx(0.5, rel=0.03)
    # Neither says anything of the other.
    dropped = arrays["1"][..., :3] == 0
    assert abs(np.corrcoef(noise[kept], dropped[kept])[0, 1]) < 0.04


def test_the_information_behind_dropout_is_that_of_a_z_channel(path):
    """Of two inputs one is always 0, and the other 0 in 3 of 10 passes: binary entropies."""
    model = nn.Sequential(nn.Identity(), nn.Dropout(0.3), nn.Identity())
    X = np.array([[0.0], [3.0]])
    run = record_run(model, X, path, layers="2", keep_dropout=True, n_replicas=400)
    S = run.load(0, "2").replicas()
    noisy = NoisyMIEstimator(0.1, random_state=0).fit(S.X, groups=S.groups)
    truth = entropy([0.65, 0.35]) - entropy([0.3, 0.7]) / 2
    assert noisy.bracket_[0] < truth < noisy.bracket_[1]
    assert noisy.mutual_info_ == pytest.approx(truth, abs=0.03)


def test_dropout_is_that_of_random_state_whatever_torch_drew_before(X, path, dropping):
    def dropped(name, random_state):
        torch.rand(3)
        with global_state_untouched():
            run = record_run(
                dropping, X, path.with_name(name), layers="1", keep_dropout=True, n_replicas=4,
                random_state=random_state, batch_size=20,
            )  # fmt: skip
        return arrays_of(run)["1"] == 0

    one, again, other, system = map(dropped, "abcd", (0, 0, 1, None))
    np.testing.assert_array_equal(one, again)
    assert 0.3 < np.mean(one != other) < 0.55
    assert 0.3 < np.mean(one != system) < 0.55
    # Each batch has its own.
    assert np.any(one[:20] != one[20:40])


def test_dropout_is_off_unless_it_is_kept_and_there_must_be_some(X, path, dropping):
    run = record_run(dropping, X, path, layers=["0", "1"])
    arrays = arrays_of(run)
    np.testing.assert_array_equal(arrays["0"], arrays["1"])
    with pytest.raises(ValueError, match="has no torch.nn.Dropout with p above 0"):
        record_run(make_mlp(SIZES), X, path, layers="layer1", keep_dropout=True)
