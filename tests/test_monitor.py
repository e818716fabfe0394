import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from torch import nn

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    RunError,
    information_flow,
    open_run,
)
from skinfo.errors import MissingExtraError
from skinfo.flow.tables import read_table
from skinfo.monitoring import FlowMonitor, log_spaced_epochs, read_journal
from skinfo.monitoring.journal import Journal
from skinfo.networks import GaussianDropout, GaussianNoise, LayerNoise, LogNormalDropout, Recorder
from skinfo.runs import RunWriter
from skinfo.szt import make_mlp
from skinfo.view import InformationFlowDisplay, make_report, plot_distances

SIZES = (6, 5, 4, 2)
NAMES = ["layer1", "layer2"]
SIGMAS = {"layer1": 0.3, "layer2": 0.3}
CHEAP = BinningMIEstimator(bin_width=0.5)


class CountingEstimator(BinningMIEstimator):
    """Count how often anything is fitted."""

    fits = 0

    def fit(self, X, y=None, **more):
        type(self).fits += 1
        return super().fit(X, y, **more)


@pytest.fixture(name="data")
def make_data(rng):
    X = rng.standard_normal((80, SIZES[0])).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64)


@pytest.fixture(autouse=True)
def _counting_from_zero():
    CountingEstimator.fits = 0


def steps(model, data, optimiser, n=1):
    """Train on random batches, with dropout and all that draws from global generators."""
    X, y = (torch.as_tensor(values) for values in data)
    for _ in range(n):
        rows = torch.randperm(len(X))[:32]
        optimiser.zero_grad()
        jitter = random.random() + float(np.random.random())  # noqa: NPY002
        (jitter * nn.functional.cross_entropy(model(X[rows]), y[rows])).backward()
        optimiser.step()


def noisy_model():
    """Modes, statistics, noise and dropout: all that a measurement could disturb."""
    model = nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), GaussianNoise(0.2), nn.Dropout(0.3),
        nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2),
    )  # fmt: skip
    model[1].eval()
    return model


def train(data, monitor_of=None, epochs=4):
    """Train with or without a monitor, from the same seeds."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    model = noisy_model()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    monitor = None if monitor_of is None else monitor_of(model)
    for epoch in range(1, epochs + 1):
        steps(model, data, optimiser, 3)
        if monitor is not None:
            before = [p.grad.clone() for p in model.parameters()]
            modes = [module.training for module in model.modules()]
            assert monitor.update(epoch, losses={"train_loss": 1.0}) is not None
            assert modes == [module.training for module in model.modules()]
            assert all(map(torch.equal, before, [p.grad for p in model.parameters()]))
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
            assert torch.is_grad_enabled()
    return model, monitor


# Training goes on as if nothing had been measured


@pytest.mark.filterwarnings("ignore::skinfo.errors.ReplicaWarning")
def test_training_with_a_monitor_gives_the_same_weights_bit_for_bit(data, tmp_path):
    """The estimator has no seed: it would draw from numpy's global generator."""
    alone, _ = train(data)
    drawn_next = torch.rand(5)
    estimators = [NoisyMIEstimator(0.2, max_evaluations=2**10), CHEAP]
    watched, monitor = train(
        data,
        lambda model: FlowMonitor.from_model(
            estimators, model, ["3", "6"], *data, n_replicas=3, path=tmp_path / "flow.csv"
        ),
    )
    assert monitor.epochs == [1, 2, 3, 4]
    state = watched.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in alone.state_dict().items())
    assert torch.equal(torch.rand(5), drawn_next)


# The numbers are those of a recorded run


def test_numbers_are_those_of_the_recorded_run_to_the_last_bit(data, tmp_path):
    estimators = {
        "noisy": NoisyMIEstimator(sigma=None, tol=0.05, random_state=0),
        "binned": BinningMIEstimator(bin_width=0.5),
        "clustered": ClusteringScore(),
    }
    model = make_mlp(SIZES)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    recorder = Recorder(model, NAMES, sigma=SIGMAS, n_replicas=6, random_state=3)
    writer = RunWriter(tmp_path / "run", recorder.describe(data[0]), labels=data[1])
    monitor = FlowMonitor.from_model(
        estimators, model, NAMES[::-1], *data, sigma=SIGMAS, n_replicas=6, random_state=3,
        n_noise_draws=2, path=tmp_path / "flow.parquet", n_jobs=2)  # fmt: skip
    for epoch in (1, 2, 5):
        steps(model, data, optimiser)
        with recorder.record(data[0]) as arrays:
            writer.add(epoch, arrays)
        monitor.update(epoch)
    noise = {"random_state": 3, "n_noise_draws": 2}
    expected = information_flow(estimators, tmp_path / "run", progress=False, **noise)
    assert monitor.table.attrs.items() >= noise.items()
    assert set(expected["epoch"]) == {1, 2, 5}
    assert len(expected) > 40
    assert_frame_equal(monitor.table, expected, check_exact=True)
    monitor.save()
    assert_frame_equal(read_table(tmp_path / "flow.parquet")[0], expected, check_exact=True)
    assert_frame_equal(read_journal(tmp_path / "flow.parquet.journal"), expected, check_exact=True)


def test_arrays_of_any_framework_are_measured(data, rng):
    arrays = {"a": rng.standard_normal((80, 3)), "b": rng.standard_normal((80, 4, 2))}
    estimator = NoisyMIEstimator(sigma=None, tol=0.05, random_state=0)
    monitor = FlowMonitor(estimator, ["a", "b"], data[1], sigma={"a": 0.5, "b": 0.4})
    monitor.update(7, {name: torch.as_tensor(array) for name, array in arrays.items()})
    run = open_run(
        {(7, n): x for n, x in arrays.items()}, labels=data[1], sigma={"a": 0.5, "b": 0.4}
    )
    assert_frame_equal(monitor.table, information_flow(estimator, run, progress=False))
    with pytest.raises(RunError, match=r"epoch 8: expected the layers \['a', 'b'\], got \['a'\]"):
        monitor.update(8, {"a": arrays["a"]})
    with pytest.raises(RunError, match="epoch 8: there is no model to run"):
        monitor.update(8)


def test_a_network_with_dropout_is_measured_as_its_recorded_run(data, tmp_path):
    """Noise of a module, noise that is added by name, and an encoder's own deviations."""
    model = nn.Sequential(nn.Linear(6, 3), GaussianDropout(0.5), nn.Linear(3, 2), nn.Tanh())
    given = {"sigma": {"3": (0.2, 0.3)}, "noise": "lognormal", "n_replicas": 3}
    noisy = NoisyMIEstimator(sigma=None, tol=0.1, random_state=0)
    path = tmp_path / "flow.csv"
    monitor = FlowMonitor.from_model(noisy, model, ["1", "3"], *data, path=path, **given)
    rows = monitor.update(1)
    recorder = Recorder(model, ["1", "3"], **given)
    with recorder.record(data[0]) as arrays:
        run = open_run({(1, name): np.array(x) for name, x in arrays.items()}, labels=data[1],
                       sigma={"1": 0.5, "3": (0.2, 0.3)},
                       noise={"1": "multiplicative", "3": "lognormal"})  # fmt: skip
    assert recorder.describe(data[0]) == run.layers
    expected = information_flow(noisy, run, progress=False)
    assert_frame_equal(rows, expected, check_exact=True)
    assert read_journal(f"{path}.journal").attrs["layers"] == [
        {"name": "1", "sigma": 0.5, "noise_before": False, "noise": "multiplicative"},
        {"name": "3", "sigma": [0.2, 0.3], "noise_before": True, "noise": "lognormal"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "module", "information"),
    [
        # By adaptive quadrature: log 2 of which units are zero, and half of I of the rows 1, 2.
        ([0.0, 0.0, 1.0, 2.0], GaussianDropout(0.3), 0.8902710791),
        ([np.exp(-1), 1.0, np.e], LogNormalDropout(0.5), 0.6191444851),
        ([0.0, 1.0, 2.0], LayerNoise((0.2, 0.3), "affine"), 0.7981178210),
    ],
)
def test_a_network_that_is_its_noise_has_the_information_of_its_channel(rows, module, information):
    model, X = nn.Sequential(module), np.array(rows)[:, None]
    noisy = NoisyMIEstimator(sigma=None, tol=1e-3, random_state=0)
    monitor = FlowMonitor.from_model(noisy, model.double(), ["0"], X)
    row = monitor.update(1).set_index("quantity").loc["mutual_info"]
    assert row["value"] == pytest.approx(information, abs=max(5 * row["stderr"], 1e-7))
    assert row["stderr"] < 1e-3


def test_deviations_of_an_encoder_are_measured_as_in_a_run(data):
    mean, scale = data[0][:, :2], np.exp(data[0][:, 2:4])
    noisy = NoisyMIEstimator(sigma=None, tol=0.1, random_state=0)
    monitor = FlowMonitor(noisy, ["mean", "scale"], sigma={"mean": "scale"})
    rows = monitor.update(1, {"mean": mean, "scale": scale})
    value = rows.set_index("quantity")["value"]["mutual_info"]
    alone = NoisyMIEstimator(sigma=None, tol=0.1, random_state=0).fit(mean, scale=scale)
    assert value == pytest.approx(alone.mutual_info_, abs=1e-9)
    with pytest.raises(RunError, match=r"expected the layers \['mean', 'scale'\], got \['mean'\]"):
        monitor.update(2, {"mean": mean})


def test_a_training_that_diverges_leaves_rows_that_say_so(data, tmp_path):
    model = make_mlp(SIZES)
    monitor = FlowMonitor.from_model(CHEAP, model, ["layer1"], *data, path=tmp_path / "flow.csv")
    monitor.update(1)
    with torch.no_grad():
        model.layer1[0].weight.fill_(np.nan)
    with pytest.warns(UserWarning, match="not measured: .*epoch 2, layer 'layer1'.*NaN"):
        rows = monitor.update(2)
    assert rows["notes"].tolist() == ["read error"]
    again = FlowMonitor.from_model(CHEAP, model, ["layer1"], *data, path=tmp_path / "flow.csv")
    assert_frame_equal(again.table, monitor.table, check_exact=True)


# Schedules


@pytest.mark.parametrize(
    ("every", "measured"),
    [
        (1, [1, 2, 3, 4, 5, 6, 7, 8]),
        (3, [3, 6]),
        (log_spaced_epochs(8, 4), [1, 2, 4, 8]),
        (lambda epoch: epoch > 6, [7, 8]),
    ],
)
def test_schedules(data, every, measured):
    monitor = FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data, every=every)
    found = [monitor.update(epoch) is not None for epoch in range(1, 9)]
    assert monitor.epochs == measured
    assert [epoch for epoch, is_there in enumerate(found, 1) if is_there] == measured


@pytest.mark.parametrize("every", [0, -1, 2.5, "log"])
def test_wrong_schedules_are_errors(data, every):
    with pytest.raises(ValueError, match="every is a number of epochs, at least 1"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data, every=every)


@pytest.mark.parametrize("epoch", [-1, 1.5, float("nan"), float("inf"), "x", None])
def test_wrong_epochs_are_errors(data, epoch):
    with pytest.raises(RunError, match="an epoch is a whole number from 0 on"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data).update(epoch)


# Going on after a kill


def test_measured_epochs_are_not_measured_again(data, tmp_path):
    path = tmp_path / "flow.csv"

    def start():
        estimator = CountingEstimator(bin_width=0.5)
        return FlowMonitor.from_model(estimator, make_mlp(SIZES), NAMES, *data, path=path)

    first = start()
    first.update(1, losses={"train_loss": 0.5})
    first.update(2)
    assert CountingEstimator.fits == 4
    second = start()
    assert second.epochs == [1, 2]
    assert_frame_equal(second.update(1), first.table.query("epoch == 1"), check_exact=True)
    second.update(2)
    assert CountingEstimator.fits == 4
    second.update(3)
    assert CountingEstimator.fits == 6
    assert second.losses == {1: {"train_loss": 0.5}, 2: {}, 3: {}}
    assert_frame_equal(read_table(path)[0], second.table, check_exact=True)


def test_a_training_that_went_back_replaces_later_epochs(data, tmp_path):
    path, model = tmp_path / "flow.csv", make_mlp(SIZES)
    monitor = FlowMonitor.from_model(CHEAP, model, NAMES, *data, path=path)
    for epoch in (1, 2, 3, 4):
        monitor.update(epoch)
    old = monitor.table
    with torch.no_grad():
        model.layer1[0].weight.mul_(3)
    with pytest.warns(UserWarning, match="epoch 3 was measured before on other activations"):
        new = monitor.update(3)
    assert monitor.epochs == [1, 2, 3]
    assert_frame_equal(monitor.table.query("epoch < 3"), old.query("epoch < 3"))
    assert not new["value"].equals(old.query("epoch == 3")["value"])
    again = FlowMonitor.from_model(CHEAP, model, NAMES, *data, path=path)
    assert_frame_equal(again.table, monitor.table, check_exact=True)
    assert_frame_equal(read_table(path)[0], monitor.table, check_exact=True)


def test_an_epoch_that_was_not_finished_is_measured_again(data, tmp_path):
    """A transaction that was not committed, as after a loss of power, leaves no trace."""
    path, model = tmp_path / "flow.csv", make_mlp(SIZES)
    journal = tmp_path / "flow.csv.journal"
    monitor = FlowMonitor.from_model(CHEAP, model, NAMES, *data, path=path)
    monitor.update(1)
    subprocess.run([sys.executable, "-c", UNFINISHED, str(journal)], check=True, timeout=60)
    assert read_journal(journal)["epoch"].unique().tolist() == [1]
    again = FlowMonitor.from_model(CHEAP, model, NAMES, *data, path=path)
    assert again.epochs == [1]
    again.update(2)
    assert read_journal(journal)["epoch"].unique().tolist() == [1, 2]


def test_another_setting_at_the_same_path_is_an_error(data, tmp_path):
    path, model, (X, y) = tmp_path / "flow.csv", make_mlp(SIZES), data
    FlowMonitor.from_model(CHEAP, model, NAMES, X, y, sigma=SIGMAS, path=path).update(1)
    before = (tmp_path / "flow.csv.journal").read_bytes()
    others = {
        "layers": {"layers": ["layer1"]},
        "estimators": {"estimators": BinningMIEstimator(bin_width=0.4)},
        "n_replicas": {"n_replicas": 2},
        "random_state": {"random_state": 1},
        "n_noise_draws": {"n_noise_draws": 2},
        "inputs": {"X": X + 1},
        "batch_size": {"batch_size": 16},
        "recorded_flatten": {"flatten": "all"},
    }  # fmt: skip
    base = {"model": model, "layers": NAMES, "estimators": CHEAP, "X": X, "y": y, "sigma": SIGMAS}
    for name, change in [*others.items(), ("labels", {"y": 1 - y}), ("layers", {"sigma": {}})]:
        with pytest.raises(RunError, match=f"csv.journal: .* another .* its {name} differ"):
            FlowMonitor.from_model(path=path, **(base | change))
    assert (tmp_path / "flow.csv.journal").read_bytes() == before
    FlowMonitor.from_model(path=path, **base)


def test_noise_of_layers_that_are_not_measured_is_a_setting_too(data, tmp_path):
    path, base = tmp_path / "flow.csv", {"layer1": 0.1, "layer2": 0.1}
    given = {"path": path, "n_replicas": 4}
    FlowMonitor.from_model(CHEAP, make_mlp(SIZES), ["layer2"], *data, sigma=base, **given).update(1)
    other = base | {"layer1": 5.0}
    with pytest.raises(RunError, match=r"its sigma differ \(.*0\.1.* in the file, .*5\.0"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), ["layer2"], *data, sigma=other, **given)
    quiet = base | {"output": 0.0}
    assert FlowMonitor.from_model(
        CHEAP, make_mlp(SIZES), ["layer2"], *data, sigma=quiet, **given
    ).epochs

    path, base = tmp_path / "kinds.csv", {"layer1": 0.1}
    given = {"path": path, "n_replicas": 4, "sigma": base}
    for noise, other in (("additive", "lognormal"), ("lognormal", "additive")):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), ["layer2"], *data, noise=noise, **given)
        with pytest.raises(RunError, match="its noise differ"):
            FlowMonitor.from_model(CHEAP, make_mlp(SIZES), ["layer2"], *data, noise=other, **given)
        given["path"] = tmp_path / "kinds_2.csv"

    path = tmp_path / "modules.csv"
    model = noisy_model()
    FlowMonitor.from_model(CHEAP, model, ["6"], *data, n_replicas=4, path=path).update(1)
    model[3].sigma = 0.7
    with pytest.raises(RunError, match="its sigma differ"):
        FlowMonitor.from_model(CHEAP, model, ["6"], *data, n_replicas=4, path=path)


def test_all_of_a_long_parameter_is_compared(data, tmp_path):
    edges = np.linspace(-2, 2, 3000)
    path, model = tmp_path / "flow.csv", make_mlp(SIZES)
    FlowMonitor.from_model(BinningMIEstimator(bin_edges=edges), model, NAMES, *data, path=path)
    other = edges.copy()
    other[1500] += 1e-9
    with pytest.raises(RunError, match="its estimators differ"):
        FlowMonitor.from_model(BinningMIEstimator(bin_edges=other), model, NAMES, *data, path=path)


UNFINISHED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 0")
connection.execute("BEGIN IMMEDIATE")
connection.execute("DELETE FROM epochs")
for epoch in range(2, 200):
    entry = "x" * 10_000
    connection.execute("INSERT INTO epochs (epoch, entry) VALUES (?, ?)", (epoch, entry))
assert os.path.getsize(sys.argv[1]) > 1_000_000, "nothing reached the file"
os._exit(0)
"""
KILLED = """
import os, signal, sys
import numpy as np
from skinfo import BinningMIEstimator
from skinfo.monitoring import FlowMonitor

class Killing(BinningMIEstimator):
    def fit(self, X, y=None, **more):
        if float(X[0, 0]) == 4.0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y, **more)

Killing.__name__ = "CountingEstimator"
monitor = FlowMonitor(Killing(bin_width=0.5), ["a"], path=sys.argv[1])
for epoch in range(1, 9):
    monitor.update(epoch, {"a": np.full((20, 1), float(epoch))})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_killed_training_loses_no_epoch_that_was_finished(tmp_path):
    path = tmp_path / "flow.csv"
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path)], check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    monitor = FlowMonitor(CountingEstimator(bin_width=0.5), ["a"], path=path)
    assert monitor.epochs == [1, 2, 3]
    for epoch in range(1, 9):
        monitor.update(epoch, {"a": np.full((20, 1), float(epoch))})
    assert CountingEstimator.fits == 5
    assert read_table(path)[0]["epoch"].unique().tolist() == list(range(1, 9))


# The journal


ENTRY = {"digest": "x", "rows": [], "losses": {}}


def test_two_writers_at_once_are_found_out(tmp_path):
    path = tmp_path / "j"
    one, other = Journal(path, {"batch_size": 0}, {}), Journal(path, {"batch_size": 0}, {})
    one.add(1, ENTRY)
    with pytest.raises(RunError, match="epoch 1: something else has written here"):
        other.add(1, ENTRY)
    one.add(2, ENTRY)
    one.add(2, ENTRY)
    assert list(Journal(path, {"batch_size": 0}, {}).entries) == [1, 2]


def test_an_epoch_that_was_replaced_by_another_writer_is_found_out(tmp_path):
    one = Journal(tmp_path / "j", {}, {})
    one.add(1, ENTRY)
    other = Journal(tmp_path / "j", {}, {})
    one.add(1, ENTRY)
    with pytest.raises(RunError, match="something else has written here"):
        other.add(2, ENTRY)


def database(*statements):
    """The bytes of an SQLite file."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        return connection.serialize()


OURS = "PRAGMA application_id = 0x736B696E"
HALF = (
    OURS,
    "CREATE TABLE header (settings TEXT, versions TEXT)",
    "CREATE TABLE epochs (number INTEGER PRIMARY KEY AUTOINCREMENT, epoch INTEGER, entry TEXT)",
    "INSERT INTO epochs (epoch, entry) VALUES (1, '{}')",
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epoch,layer\n1,a\n", "the file is no journal of a monitor .*not a database"),
        (database("CREATE TABLE mine (x)"), "the database of another program"),
        (database("CREATE TABLE h (x)", OURS, "PRAGMA user_version = 2"), "written with schema 2"),
        (database("CREATE TABLE mine (x)", OURS), "is no journal .*no such table: header"),
        (database(*HALF), "is no journal .*its header or one of its epochs"),
        (database(*HALF, "INSERT INTO header VALUES ('{}', '{}')"), "one of its epochs is not"),
        (database(*HALF, "INSERT INTO header VALUES ('{', '{}')"), "one of its epochs is not"),
        (database(*HALF)[:6000], "cannot be read or written .*malformed.: the file is damaged"),
    ],
)
def test_other_files_are_not_overwritten_by_a_journal(tmp_path, content, message):
    path = tmp_path / "flow.csv.journal"
    path.write_bytes(content)
    for read in (lambda: Journal(path, {}, {}), lambda: read_journal(path)):
        with pytest.raises(RunError, match=message):
            read()
        assert path.read_bytes() == content


def connecting(*statements, mode="rwc"):
    """Connect as usual, but with some statements first, or in another mode."""
    connect = sqlite3.connect

    def connected(path, **options):
        connection = connect(f"file:{path}?mode={mode}", uri=True, **options)
        for statement in statements:
            connection.execute(statement)
        return connection

    return connected


@pytest.mark.parametrize(
    ("connect", "message"),
    [
        (connecting("PRAGMA max_page_count = 5"), "disk is full.: .*make room"),
        (connecting(mode="ro"), "readonly database.: it may not be written; ask for permission"),
    ],
)
def test_what_stops_a_journal_is_told_apart(tmp_path, monkeypatch, connect, message):
    journal = Journal(tmp_path / "j", {}, {})
    journal.add(1, ENTRY)
    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(RunError, match=f"j, epoch 2: cannot be read or written .*{message}"):
        journal.add(2, ENTRY | {"digest": "x" * 50_000})


def test_a_locked_journal_is_not_called_full_or_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr("skinfo.monitoring.journal._BUSY_SECONDS", 0.01)
    journal = Journal(tmp_path / "j", {}, {})
    with contextlib.closing(sqlite3.connect(tmp_path / "j", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for use in (lambda: journal.add(1, ENTRY), lambda: read_journal(tmp_path / "j")):
            with pytest.raises(
                RunError, match="locked.: another process .* end that, or try again"
            ):
                use()
    journal.add(1, ENTRY)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_journal_is_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "directory").mkdir()
    for path in tmp_path.iterdir():
        for use in (lambda path=path: Journal(path, {}, {}), lambda path=path: read_journal(path)):
            with pytest.raises(RunError, match="the journal is a file, and this is none"):
                use()


FULL = """
import resource, sys
from pathlib import Path
from skinfo.errors import RunError
from skinfo.monitoring.journal import Journal

path = Path(sys.argv[1])
journal = Journal(path, {}, {})
journal.add(1, {"digest": "x", "rows": [], "losses": {}})
limit = path.stat().st_size + 10
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    journal.add(2, {"digest": "x" * 100_000, "rows": [], "losses": {}})
except RunError as error:
    print(error)
assert list(journal.entries) == [1]
"""


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "flow.csv.journal"
    found = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False
    )
    assert found.stderr == ""
    assert "epoch 2: cannot be read or written (" in found.stdout
    assert "the disk" in found.stdout
    assert list(Journal(path, {}, {}).entries) == [1]


def test_an_epoch_costs_the_same_however_many_there_are(data, tmp_path, monkeypatch):
    """The table is written ever more rarely; the journal grows by what an epoch holds."""
    written = []
    monitor = FlowMonitor(CHEAP, ["a"], path=tmp_path / "flow.csv")
    monkeypatch.setattr(
        "skinfo.monitoring.monitor.write_table", lambda _p, table, _s: written.append(len(table))
    )
    for epoch in range(1000, 1060):
        monitor._keep(epoch, ENTRY | {"rows": [{"epoch": epoch, "notes": "x" * 1000}]})
    assert (tmp_path / "flow.csv.journal").stat().st_size < 60 * 1000 * 1.5 + 20_000
    assert written[:10] == list(range(1, 11))
    assert len(written) < 32
    assert sum(written) < 12 * 60


def test_tables_of_others_are_not_overwritten(data, tmp_path):
    path = tmp_path / "flow.csv"
    path.write_text("mine")
    with pytest.raises(RunError, match="was not written by a monitor"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data, path=path)
    assert path.read_text() == "mine"
    with pytest.raises(ValueError, match="a table ends in"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data, path=tmp_path / "flow.txt")
    with pytest.raises(RunError, match="there is no directory"):
        FlowMonitor.from_model(
            CHEAP, make_mlp(SIZES), NAMES, *data, path=tmp_path / "none" / "flow.csv"
        )
    with pytest.raises(RunError, match="there is no such journal"):
        read_journal(tmp_path / "flow.csv.journal")


def test_the_table_holds_its_settings(data, tmp_path):
    path = tmp_path / "flow.parquet"
    with FlowMonitor.from_model(
        CHEAP, make_mlp(SIZES), NAMES, *data, path=path, every=2
    ) as monitor:
        for epoch in range(1, 30):
            monitor.update(epoch)
    attrs = pd.read_parquet(path).attrs
    assert attrs["layers"] == [
        {"name": name, "sigma": 0.0, "noise_before": False} for name in ("layer1", "layer2")
    ]
    assert attrs["estimators"]["BinningMIEstimator"]["bin_width"] == 0.5
    assert {"skinfo", "numpy", "torch"} <= set(attrs["versions"])
    assert read_table(path)[0]["epoch"].nunique() == 14


# What cannot be monitored


def test_bins_of_the_whole_run_are_refused(data):
    with pytest.raises(ValueError, match="bin_range='run' needs the whole run"):
        FlowMonitor.from_model(BinningMIEstimator(bin_range="run"), make_mlp(SIZES), NAMES, *data)


def test_bins_of_the_whole_run_are_refused_in_a_pipeline_as_well(data):
    pipeline = make_pipeline(PCA(2), BinningMIEstimator(bin_range="run"))
    with pytest.raises(ValueError, match="bin_range='run' needs the whole run"):
        FlowMonitor.from_model({"p": pipeline}, make_mlp(SIZES), NAMES, *data)


def test_a_width_needs_no_range_of_the_whole_run(data):
    estimator = BinningMIEstimator(bin_width=1.0, bin_range="run")
    assert len(FlowMonitor.from_model(estimator, make_mlp(SIZES), NAMES, *data).update(1))


def test_an_npz_of_another_table_is_found_before_the_training_begins(data, tmp_path):
    (tmp_path / "flow.npz").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"flow\.npz belongs to another table"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data, path=tmp_path / "flow.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["flow.npz"]


def test_labels_are_one_per_input(data):
    X, y = data
    with pytest.raises(ValueError, match="one label per input; got 79 labels for 80 inputs"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, X, y[1:])
    with pytest.raises(ValueError, match=r"labels must be one label per input; got .*80, 2"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, X, np.eye(2)[y])
    with pytest.raises(ValueError, match="first axis of every array .* got 79 and 80 of them"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, (X, X[1:]))
    with pytest.raises(RunError, match="79"):
        FlowMonitor(CHEAP, ["a"], y[1:]).update(1, {"a": X})


@pytest.mark.parametrize(
    ("flatten", "opened"),
    [
        ("all", "all"),
        ("channel_mean", "channel_mean"),
        ({"a": "spatial"}, {"a": "spatial"}),
        (len, None),
    ],
)
def test_maps_are_flattened_as_in_a_run(data, rng, flatten, opened, tmp_path):
    maps = rng.standard_normal((80, 3, 2, 2))
    opened = (lambda rows: rows[:, 0, 0]) if opened is None else opened
    flatten = opened if callable(flatten) else flatten
    monitor = FlowMonitor(CHEAP, ["a"], data[1], flatten=flatten,
                          path=tmp_path / "flow.csv")  # fmt: skip
    monitor.update(1, {"a": maps})
    run = open_run({(1, "a"): maps}, labels=data[1], flatten=opened)
    assert_frame_equal(monitor.table, information_flow(CHEAP, run, progress=False))
    with pytest.raises(RunError, match="its flatten differ"):
        FlowMonitor(CHEAP, ["a"], data[1], path=tmp_path / "flow.csv")


def test_a_function_with_some_arguments_filled_in_goes_on_where_it_stopped(data, rng, tmp_path):
    def measured():
        flatten = partial(lambda maps, channel: maps[:, channel].reshape(len(maps), -1), channel=0)
        return FlowMonitor(CHEAP, ["a"], data[1], flatten=flatten,
                           path=tmp_path / "flow.csv")  # fmt: skip

    monitor = measured()
    monitor.update(1, {"a": rng.standard_normal((80, 3, 2, 2))})
    assert measured().epochs == [1]


class FirstColumns:
    """A callable whose name does not tell what it does."""

    def __init__(self, n):
        self.n = n

    def __call__(self, maps):
        return maps.reshape(len(maps), -1)[:, : self.n]


def test_callables_that_differ_although_their_names_do_not_are_found_out(data, rng, tmp_path):
    maps = rng.standard_normal((80, 3, 2, 2))

    def measured(n, **options):
        monitor = FlowMonitor(CHEAP, ["a"], data[1], flatten=FirstColumns(n), **options)
        return monitor, monitor.update(1, {"a": maps})

    path = tmp_path / "flow.csv"
    _, few = measured(1, path=path)
    assert_frame_equal(measured(1, path=path)[0].table, few)
    with pytest.warns(UserWarning, match="measured before on other activations"):
        _, many = measured(9, path=path)
    assert_frame_equal(many, measured(9)[1])
    assert not np.allclose(many["value"], few["value"])


def test_settings_that_exclude_each_other_are_found_before_the_training(data):
    estimator = BinningMIEstimator(strategy="quantile", bin_range="run")
    with pytest.raises(ValueError, match="quantile"):
        FlowMonitor(estimator, ["a"], data[1])


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        (CHEAP, {"n_noise_draws": 0}, "n_noise_draws is a number of draws, 1 or more; got 0"),
        (CHEAP, {"n_noise_draws": 2.5}, "n_noise_draws is a number of draws"),
        (CHEAP, {"random_state": "spam"}, "cannot be used to seed"),
        (NoisyMIEstimator(sigma=None), {}, "sigma=None takes each layer's own, but no layer"),
        (ClusteringScore(), {"labels": None}, "requires y, but the run has no labels"),
    ],
)
def test_what_would_stop_the_first_update_is_found_before_the_training(
    data, estimator, options, message
):
    with pytest.raises(ValueError, match=message):
        FlowMonitor(estimator, ["a"], **{"labels": data[1]} | options)
    assert FlowMonitor(estimator, ["a"], data[1], sigma=0.1, n_noise_draws=2).epochs == []


def test_an_unknown_flatten_is_refused(data):
    with pytest.raises(ValueError, match="flatten must be one of"):
        FlowMonitor(CHEAP, ["a"], data[1], flatten="spam")
    with pytest.raises(ValueError, match="flatten names 'b', which is not a layer of a"):
        FlowMonitor(CHEAP, ["a"], data[1], flatten={"b": "all"})


def test_a_network_without_noise_has_no_sigma_to_differ_from(data):
    monitor = FlowMonitor.from_model(
        NoisyMIEstimator(0.3, random_state=0), make_mlp(SIZES), NAMES, *data
    )
    notes = monitor.update(1)["notes"]
    assert notes.str.contains("noise added").all()
    assert not notes.str.contains("differs").any()


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        (["a", "a"], {}, r"layers are one or more of different names; got \['a', 'a'\]"),
        ([], {}, "layers are one or more"),
        (["a"], {"settings": [1]}, r"settings must be a mapping, .* got \[1\]"),
        (["a"], {"settings": {"layers": 3}}, "the monitor itself notes 'layers'"),
    ],
)
def test_layers_and_settings_that_cannot_be_are_refused(layers, options, message):
    with pytest.raises(ValueError, match=message):
        FlowMonitor(CHEAP, layers, **options)


def test_only_torch_models_are_run(data):
    with pytest.raises(TypeError, match="model must be a torch.nn.Module; got a function"):
        FlowMonitor.from_model(CHEAP, lambda x: x, NAMES, *data)


def test_unknown_layers_are_named(data):
    with pytest.raises(ValueError, match="no layer 'layer9'; it has: layer1"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), ["layer9"], *data)


# TensorBoard


class Scalars:
    """A writer that remembers."""

    def __init__(self):
        self.seen, self.flushed = {}, 0

    def add_scalar(self, tag, value, step):
        self.seen[tag, step] = value

    def flush(self):
        self.flushed += 1


def test_a_writer_gets_values_brackets_and_losses(data):
    writer, model = Scalars(), make_mlp(SIZES)
    monitor = FlowMonitor.from_model(
        {"noisy": NoisyMIEstimator(0.5, tol=0.05, random_state=0)}, model, NAMES, *data,
        tensorboard=writer)  # fmt: skip
    monitor.update(1, losses={"train_loss": torch.tensor(0.25)})
    rows = monitor.table.query("quantity == 'mutual_info'").set_index("layer")
    for layer in NAMES:
        tag = f"noisy/mutual_info/{layer}"
        assert writer.seen[tag, 1] == rows.loc[layer, "value"]
        assert writer.seen[f"{tag}/lower", 1] == rows.loc[layer, "lower"]
    assert writer.seen["losses/train_loss", 1] == 0.25
    assert all(np.isfinite(value) for value in writer.seen.values())
    n = len(writer.seen)
    monitor.update(1)
    assert (len(writer.seen), writer.flushed) == (n, 1)


def test_tensorboard_reads_what_was_written(data, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with FlowMonitor.from_model(
        CHEAP, make_mlp(SIZES), NAMES, *data, tensorboard=tmp_path / "tb"
    ) as monitor:
        for epoch in (1, 2, 3):
            monitor.update(epoch, losses={"test_loss": 1 / epoch})
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    found = events.Scalars("BinningMIEstimator/binned_entropy/layer2")
    expected = monitor.table.query("quantity == 'binned_entropy' and layer == 'layer2'")
    assert [event.step for event in found] == [1, 2, 3]
    np.testing.assert_allclose([event.value for event in found], expected["value"], rtol=1e-6)
    assert events.Scalars("losses/test_loss")[0].value == 1.0


def test_without_tensorboard_the_extra_is_named(data, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'skinfo\[tensorboard\]'"):
        FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data, tensorboard=tmp_path / "tb")


def test_a_journal_is_one_file_beside_the_table_and_its_npz(data, tmp_path):
    monitor = FlowMonitor(CHEAP, ["a"], path=tmp_path / "flow.csv")
    monitor.update(1, {"a": data[0]}, losses={"train_loss": 0.5})
    assert sorted(os.listdir(tmp_path)) == ["flow.csv", "flow.csv.journal", "flow.npz"]
    again = FlowMonitor(CHEAP, ["a"], path=tmp_path / "flow.csv")
    assert again.losses == {1: {"train_loss": 0.5}}


def test_a_journal_is_read_without_permission_to_write(data, tmp_path):
    monitor = FlowMonitor(CHEAP, ["a"], path=tmp_path / "flow.csv")
    monitor.update(1, {"a": data[0]})
    (tmp_path / "flow.csv.journal").chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert_frame_equal(read_journal(tmp_path / "flow.csv.journal"), monitor.table)
    finally:
        tmp_path.chmod(0o755)


def test_words_are_the_same_labels_as_bytes(data, tmp_path):
    words = np.array(["even", "odd"])[data[1]]
    tables = []
    for number, labels in enumerate((words, words.astype("S"), words[:, None], list(words))):
        monitor = FlowMonitor(ClusteringScore(), ["a"], labels, path=tmp_path / f"{number}.csv")
        tables.append(monitor.update(1, {"a": data[0]}))
    for table in tables[1:]:
        assert_frame_equal(table, tables[0])


def test_masked_values_are_refused(data):
    X, y = (np.ma.masked_array(values, np.zeros(values.shape, bool)) for values in data)
    monitor = FlowMonitor(ClusteringScore(), ["a"], y)
    assert monitor.update(1, {"a": X}) is not None
    with pytest.raises(ValueError, match="layer 'a' holds masked values; fill them or drop"):
        monitor.update(2, {"a": np.ma.masked_greater(X, 1)})
    with pytest.raises(ValueError, match="labels holds masked values"):
        FlowMonitor(ClusteringScore(), ["a"], np.ma.masked_equal(y, 1))


# What pictures and reports get


def test_losses_and_settings_reach_pictures_and_reports(data, tmp_path):
    path = tmp_path / "flow.csv"
    given = {"sigma": SIGMAS, "n_replicas": 3, "path": path}
    monitor = FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data, **given)
    for epoch in (1, 2, 5):
        more = {"accuracy": 0.5} if epoch == 2 else {}
        monitor.update(epoch, losses={"train_loss": 1 / epoch} | more)
    monitor.close()
    table, snapshots = read_table(path)
    assert table.attrs == monitor.table.attrs
    assert [layer["sigma"] for layer in table.attrs["layers"]] == [0.3, 0.3]
    assert snapshots.epochs.tolist() == [1, 2, 5]
    np.testing.assert_array_equal(snapshots.losses["train_loss"], [1, 0.5, 0.2])
    np.testing.assert_array_equal(snapshots.losses["accuracy"], [np.nan, 0.5, np.nan])
    display = InformationFlowDisplay.from_flow(table, snapshots).plot()
    (line,) = display.axes_["losses"].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [1, 0.5, 0.2])
    page = make_report(table, snapshots)
    assert "train loss" in page
    assert "no losses on record" not in page
    with pytest.raises(ValueError, match="distances"):
        plot_distances(snapshots)
    again = FlowMonitor.from_model(CHEAP, make_mlp(SIZES), NAMES, *data, **given)
    assert again.losses == monitor.losses
