"""Training: loss, noise, Parseval steps, seeds and states."""

import errno
import os

import numpy as np
import pytest
import torch
from torch import nn

from skinfo import szt
from skinfo.datasets import make_szt
from skinfo.errors import RunError
from skinfo.networks import GaussianNoise, Recorder
from skinfo.szt import Trainer, make_mlp, parseval_step

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
    modes,
)


def blobs(n=400):
    """Two classes far apart on the first axis."""
    rng = np.random.default_rng(8)
    y = np.arange(n) % 2
    X = rng.standard_normal((n, SIZES[0]))
    X[:, 0] += 8.0 * y - 4.0
    return X, y


def make_trainer(seed=0, *, weights=0, **options):
    return Trainer(
        make_mlp(SIZES, random_state=weights), *blobs(), sigma=SIGMAS, random_state=seed, **options
    )


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_equal_weights(one, other):
    assert list(one) == list(other)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_loss_falls_on_szt():
    X, y = make_szt()
    sigmas = dict.fromkeys(szt.HIDDEN, 0.005)
    trainer = Trainer(make_mlp(), X, y, sigma=sigmas, learning_rate=4e-3)
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
    quiet = Trainer(make_mlp(SIZES), *blobs(), random_state=0)
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
    trainer = Trainer(model, *blobs(), sigma={"0.layer1": 0.1})
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
    with pytest.raises(ValueError, match=r"'features\.conv' returns .* flatten='all'"):
        recorder.describe(images(2))


def test_a_damaged_state_of_the_training_is_named(tmp_path):
    (tmp_path / "training.pt").write_bytes(b"half of the state")
    with pytest.raises(RunError, match=r"training\.pt.*remove the file"):
        make_trainer().load(tmp_path / "training.pt")
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(RunError, match=r"other\.pt.*'model'.*remove the file"):
        make_trainer().load(tmp_path / "other.pt")


def test_a_state_that_is_not_known_to_be_damaged_is_not_to_be_removed(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(RunError, match=r"pipe\.pt: the state of a training is a file"):
        make_trainer().load(tmp_path / "pipe.pt")
    path = tmp_path / "training.pt"
    make_trainer().save(path)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(RunError, match="Permission denied.; nothing says that it is damaged"):
        make_trainer().load(path)


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.ones((4, 6)), [0.0, 1.0, 0.5, 1.0]),
        (np.ones((4, 6)), [0.0, 1.0, np.nan, 1.0]),
        (np.ones((4, 6)) * 1j, [0, 1, 0, 1]),
        (np.full((4, 6), 2**24 + 1), [0, 1, 0, 1]),
    ],
)
def test_numbers_that_training_would_cut_are_refused(X, y):
    with pytest.raises(ValueError, match="cannot hold all of these numbers"):
        Trainer(make_mlp(SIZES), X, y)


def test_noise_that_is_not_on_record_is_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 2)

        def forward(self, x):
            return self.a(x) + torch.randn(2)

    with pytest.raises(ValueError, match="noise that the recorder does not know of"):
        Recorder(Noisy(), ["a"]).describe(torch.zeros(4, 3))


def test_a_step_of_gradient_descent():
    model = nn.Linear(2, 2)
    X, y = torch.tensor([[1.0, 2.0], [-1.0, 0.5]]), torch.tensor([0, 1])
    nn.functional.cross_entropy(model(X), y).backward()
    expected = model.weight.detach() - 0.1 * model.weight.grad
    trainer = Trainer(model, X, y, optimiser="sgd", learning_rate=0.1, batch_size=2)
    trainer.train_until(1)
    torch.testing.assert_close(model.weight.detach(), expected)


def test_an_unknown_optimiser_lists_the_optimisers():
    with pytest.raises(ValueError, match="one of adam, sgd; got 'lbfgs'"):
        Trainer(nn.Linear(2, 2), np.zeros((2, 2)), np.zeros(2), optimiser="lbfgs")
