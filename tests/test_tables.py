"""The table on disk, and the arrays beside it that a picture needs."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    information_flow,
    open_run,
)
from skinfo.errors import MissingExtraError
from skinfo.panel import DRAWN_CELLS, coarsen, collect_panel, pick_snapshots
from skinfo.runs import Layer, Run, RunWriter
from skinfo.tables import check_output, read_table, write_table

EPOCHS = (1, 3, 10, 30, 100, 300)
LABELS = np.arange(20) % 2
SETTINGS = {"run": "szt", "sigma": 0.005, "layers": [{"name": "0", "sigma": None}], "seed": 3}


def arrays(n_units=(4, 3), epochs=EPOCHS, n=20):
    """Layers named as torch.nn.Sequential names them, wider first."""
    rng = np.random.default_rng(0)
    return {
        (epoch, str(2 * k)): rng.normal(size=(n, 3, d))
        for epoch in epochs
        for k, d in enumerate(n_units)
    }


@pytest.fixture(scope="module")
def run():
    return open_run(arrays(), labels=LABELS, sigma=0.5)


@pytest.fixture(scope="module")
def table(run):
    estimators = [NoisyMIEstimator(0.4, tol=0.1, random_state=0), ClusteringScore()]
    table = information_flow(estimators, run, progress=False)
    # Settings are those of the panel here.
    table.attrs = {}
    return table


@pytest.fixture(scope="module")
def panel(run):
    return replace(
        collect_panel(run, settings=SETTINGS),
        losses={"train_loss": np.linspace(1, 0, 6), "test_loss": np.array([1, *[np.nan] * 5])},
    )


def assert_same_panel(found, expected):
    assert vars(found).keys() == vars(expected).keys()
    for name, value in vars(expected).items():
        if name == "losses":
            assert found.losses.keys() == value.keys()
            for loss, numbers in value.items():
                np.testing.assert_array_equal(found.losses[loss], numbers, strict=True)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), value, strict=True)
        else:
            assert getattr(found, name) == value


# --- round trips ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_and_its_panel_come_back_as_they_were(tmp_path, table, panel, suffix):
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, panel)
    assert {p.name for p in tmp_path.iterdir()} == {"flow.npz", f"flow{suffix}"}
    found, beside = read_table(path)
    found.attrs = {}
    pd.testing.assert_frame_equal(found, table, check_exact=True)
    assert_same_panel(beside, panel)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_every_digit_and_every_infinity_survives(tmp_path, table, panel, suffix):
    rng = np.random.default_rng(0)
    numbers = table.assign(value=rng.normal(size=len(table)) * 10.0 ** rng.integers(-20, 20))
    numbers.loc[0, ["lower", "upper"]] = [-np.inf, np.inf]
    numbers.loc[1, ["value", "lower", "upper"]] = np.nan
    path = tmp_path / f"flow{suffix}"
    write_table(path, numbers, panel)
    columns = ["value", "stderr", "lower", "upper"]
    np.testing.assert_array_equal(read_table(path)[0][columns], numbers[columns])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("estimator", [ClusteringScore(), BinningMIEstimator(n_bins=3)])
def test_columns_without_a_word_come_back_as_words(tmp_path, run, panel, suffix, estimator):
    """No note at all is the usual case; a clustering table has no unit either."""
    table = information_flow(estimator, run, progress=False)
    assert set(table["notes"]) == {""}
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, panel)
    found = read_table(path)[0]
    for column in ("unit", "notes", "quantity"):
        assert found[column].tolist() == table[column].tolist()
    assert not found["notes"].str.contains("read error").any()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_read_error_row_comes_back(tmp_path, panel, suffix):
    made = arrays()
    made[3, "2"][0, 0, 0] = np.nan
    with pytest.warns(UserWarning, match="epoch 3, layer '2'"):
        table = information_flow(BinningMIEstimator(), open_run(made, axes="nrc"), progress=False)
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, panel)
    row = read_table(path)[0].query("notes == 'read error'")
    assert row[["epoch", "layer", "quantity", "unit"]].to_numpy().tolist() == [[3, "2", "", ""]]
    assert row["value"].isna().all()


def test_settings_travel_in_the_metadata_of_the_table(tmp_path, table, panel):
    write_table(tmp_path / "flow.parquet", table, panel)
    assert pd.read_parquet(tmp_path / "flow.parquet").attrs == SETTINGS
    assert read_table(tmp_path / "flow.parquet")[0].attrs == SETTINGS
    assert table.attrs == {}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_settings_travel_in_the_panel(tmp_path, table, panel, suffix):
    write_table(tmp_path / f"flow{suffix}", table, panel)
    assert read_table(tmp_path / f"flow{suffix}")[1].settings == SETTINGS


def test_a_table_alone_has_no_panel(tmp_path, table, panel):
    write_table(tmp_path / "flow.csv", table, panel)
    (tmp_path / "flow.npz").unlink()
    found, beside = read_table(tmp_path / "flow.csv")
    assert len(found) == len(table)
    assert beside is None


def test_nothing_is_pickled(tmp_path, table, panel):
    write_table(tmp_path / "flow.csv", table, panel)
    with np.load(tmp_path / "flow.npz", allow_pickle=False) as archive:
        kinds = {name: archive[name].dtype.kind for name in archive.files}
    expected = {
        "layers", "epochs", "value_edges", "value_counts", "snapshots", "scatter",
        "scatter_labels", "distance_edges", "within", "between", "settings",
        "loss:train_loss", "loss:test_loss",
    }  # fmt: skip
    assert set(kinds) == expected
    assert set(kinds.values()) <= {"f", "i", "U"}


def test_writing_leaves_the_callers_table_alone(tmp_path, table, panel):
    before = table.copy()
    write_table(tmp_path / "flow.parquet", table, panel)
    pd.testing.assert_frame_equal(table, before)


# --- files that are there, missing or broken -----------------------------------------------------


def test_an_existing_file_is_refused_without_force(tmp_path):
    path = tmp_path / "flow.csv"
    check_output(path, force=False)
    path.write_text("mine")
    with pytest.raises(ValueError, match=r"flow\.csv exists.*with force"):
        check_output(path, force=False)
    check_output(path, force=True)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_that_is_not_there_is_refused(tmp_path, force):
    with pytest.raises(ValueError, match="there is no directory .*nowhere"):
        check_output(tmp_path / "nowhere" / "flow.csv", force=force)


def test_writing_replaces_the_old_table_and_panel(tmp_path, table, panel):
    path = tmp_path / "flow.csv"
    write_table(path, table, panel)
    write_table(path, table.head(3), replace(panel, layers=["a", "b"]))
    found, beside = read_table(path)
    assert len(found) == 3
    assert beside.layers == ["a", "b"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_write_that_fails_leaves_the_old_files(tmp_path, table, panel, suffix):
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, panel)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write_table(path, table.head(3), replace(panel, settings={"run": object()}))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["flow.txt", "flow", "flow.npz", "flow.csv.gz"])
def test_another_suffix_is_refused(tmp_path, table, panel, name):
    with pytest.raises(ValueError, match=r"\.parquet or \.csv"):
        write_table(tmp_path / name, table, panel)
    with pytest.raises(ValueError, match=r"\.parquet or \.csv"):
        read_table(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["flow.parquet", "flow.csv"])
def test_a_missing_table_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name}: there is no such table"):
        read_table(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"{name}: there is no such table"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["flow.parquet", "flow.csv"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe\x80 nonsense \x9f\n", b"a,b\n1,2,3,4\n"],
    ids=["empty", "binary", "ragged"],
)  # fmt: skip
def test_what_is_no_table_is_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} (cannot be read|is no flow table)"):
        read_table(path)


@pytest.mark.parametrize(
    "missing", ["epoch", "layer", "estimator", "quantity", "value", "lower", "upper", "unit"]
)
def test_a_table_without_a_column_that_pictures_need_is_no_flow_table(tmp_path, table, missing):
    path = tmp_path / "flow.csv"
    table.drop(columns=missing).to_csv(path, index=False)
    with pytest.raises(ValueError, match=f"no flow table.*'{missing}'"):
        read_table(path)


def test_a_truncated_table_is_named(tmp_path, table, panel):
    path = tmp_path / "flow.parquet"
    write_table(path, table, panel)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"flow\.parquet cannot be read"):
        read_table(path)


@pytest.mark.parametrize("how", ["text", "truncated", "empty", "npy"])
def test_a_corrupt_npz_beside_is_named(tmp_path, table, panel, how):
    path = tmp_path / "flow.csv"
    write_table(path, table, panel)
    beside = tmp_path / "flow.npz"
    if how == "npy":
        with beside.open("wb") as file:
            np.save(file, np.arange(3))
    else:
        content = beside.read_bytes()
        beside.write_bytes({"text": b"hello", "truncated": content[:-200], "empty": b""}[how])
    with pytest.raises(ValueError, match=r"flow\.npz"):
        read_table(path)


def test_an_npz_of_something_else_is_named(tmp_path, table, panel):
    """A checkpoint of a run, say, that was copied beside a table of its name."""
    path = tmp_path / "flow.csv"
    write_table(path, table, panel)
    np.savez(tmp_path / "flow.npz", hidden=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"flow\.npz"):
        read_table(path)


class Trap:
    """Shows itself when unpickled."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def test_a_pickle_beside_a_table_is_never_loaded(tmp_path, table, panel):
    path = tmp_path / "flow.csv"
    write_table(path, table, panel)
    np.savez(tmp_path / "flow.npz", layers=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match=r"flow\.npz cannot be read"):
        read_table(path)
    assert not Trap.sprung


def test_parquet_without_pyarrow_names_the_extra(tmp_path, table, panel, monkeypatch):
    write_table(tmp_path / "flow.parquet", table, panel)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'skinfo\[runs\]'"):
        read_table(tmp_path / "flow.parquet")
    with pytest.raises(MissingExtraError, match=r"pip install 'skinfo\[runs\]'"):
        write_table(tmp_path / "new.parquet", table, panel)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flow.npz", "flow.parquet"]
    write_table(tmp_path / "new.csv", table, panel)
    assert (tmp_path / "new.csv").read_text().count("\n") == len(table) + 1


# --- the panel -----------------------------------------------------------------------------------


def test_value_counts_count_every_activation_of_every_input(panel):
    assert panel.layers == ["0", "2"]
    assert panel.epochs.tolist() == list(EPOCHS)
    assert panel.value_counts.shape == (2, len(EPOCHS), DRAWN_CELLS)
    np.testing.assert_array_equal(panel.value_counts[0].sum(axis=1), 20 * 4)
    np.testing.assert_array_equal(panel.value_counts[1].sum(axis=1), 20 * 3)


def test_value_counts_are_the_histogram_of_noisy_samples(run, panel):
    assert panel.value_edges.shape == (2, DRAWN_CELLS + 1)
    for place, layer in enumerate(["0", "2"]):
        samples = np.array([run.noisy_samples(epoch, layer).X for epoch in EPOCHS])
        edges = panel.value_edges[place]
        assert (edges[0], edges[-1]) == (samples.min(), samples.max())
        for k, sample in enumerate(samples):
            np.testing.assert_array_equal(panel.value_counts[place, k],
                                          np.histogram(sample, edges)[0])  # fmt: skip


def test_value_counts_of_a_constant_layer_are_all_in_one_cell():
    panel = collect_panel(open_run({(1, "dead"): np.full((6, 2), 3.0)}, sigma=0.0))
    assert panel.value_counts.sum() == 12
    assert np.count_nonzero(panel.value_counts) == 1


def test_value_counts_count_a_subset_only(run):
    panel = collect_panel(run, subset=np.arange(20) < 8)
    np.testing.assert_array_equal(panel.value_counts.sum(axis=2), [[32] * 6, [24] * 6])
    assert panel.scatter.shape[1:] == (8, 3)


def test_distances_are_those_of_noisy_samples_within_and_between(run, panel):
    n_pairs = 20 * 19 / 2
    assert panel.within.shape == panel.between.shape == (2, 4, DRAWN_CELLS)
    np.testing.assert_allclose((panel.within + panel.between).sum(axis=2), n_pairs)
    for place, layer in enumerate(["0", "2"]):
        for k, epoch in enumerate(panel.snapshots):
            edges = panel.distance_edges[place, k]
            distances = squareform(pdist(run.noisy_samples(epoch, layer).X))
            i, j = np.triu_indices(20, 1)
            same = LABELS[i] == LABELS[j]
            for kept, counts in ((same, panel.within), (~same, panel.between)):
                expected = np.histogram(distances[i, j][kept], edges)[0]
                np.testing.assert_allclose(counts[place, k], expected)


def test_distances_are_those_of_the_clustering_score(run, panel):
    fitted = ClusteringScore().fit(run.noisy_samples(300, "2").X, LABELS)
    edges, within, between = coarsen(
        fitted.distance_edges_, fitted.within_histogram_, fitted.between_histogram_
    )
    np.testing.assert_array_equal(panel.within[1, -1], within)
    np.testing.assert_array_equal(panel.between[1, -1], between)
    np.testing.assert_array_equal(panel.distance_edges[1, -1], edges)


@pytest.mark.parametrize("n_units", [1, 2, 3, 5])
def test_scatter_holds_the_units_of_the_last_layer(n_units):
    made = arrays((4, n_units), epochs=(1, 2))
    run = open_run(made, labels=LABELS, sigma=0.0, axes="nrc")
    panel = collect_panel(run)
    assert panel.scatter.shape == (2, 20, n_units)
    for k, epoch in enumerate((1, 2)):
        np.testing.assert_array_equal(panel.scatter[k], made[epoch, "2"][:, 0])
    np.testing.assert_array_equal(panel.scatter_labels, LABELS)


def test_scatter_is_a_sample_with_its_labels():
    """Activations are the label itself, so that a row that lost its label shows."""
    n = 3500
    labels = np.random.default_rng(0).integers(0, 5, n)
    rows = np.column_stack([labels, np.arange(n)]).astype(float)
    panel = collect_panel(open_run({(1, "only"): rows}, labels=labels, sigma=0.0))
    assert panel.scatter.shape == (1, 1000, 2)
    np.testing.assert_array_equal(panel.scatter[0, :, 0], panel.scatter_labels)
    assert panel.scatter[0, 0, 1] == 0
    assert panel.scatter[0, -1, 1] == n - 1
    assert len(np.unique(panel.scatter[0, :, 1])) == 1000


def test_labels_of_any_kind_are_coded_in_the_scatter():
    labels = np.array(["cat", "dog"])[LABELS]
    panel = collect_panel(open_run(arrays(epochs=(1,)), labels=labels, axes="nrc"))
    np.testing.assert_array_equal(panel.scatter_labels, LABELS)


@pytest.mark.parametrize("n_units", [1, 2, 3])
def test_without_labels_there_are_no_distances_and_no_label(tmp_path, n_units):
    panel = collect_panel(open_run(arrays((4, n_units)), sigma=0.5))
    assert not panel.within.any()
    assert not panel.between.any()
    assert panel.scatter.shape == (4, 20, n_units)
    assert panel.scatter_labels.tolist() == [-1] * 20
    assert (panel.value_counts[0].sum(axis=1) == 80).all()


@pytest.mark.parametrize("labels", [np.zeros(20, dtype=int), np.arange(20)],
                         ids=["one class", "classes of one"])  # fmt: skip
def test_labels_that_make_no_pairs_give_no_distances(labels):
    panel = collect_panel(open_run(arrays(), labels=labels, axes="nrc"))
    assert not (panel.within.any() and panel.between.any())
    assert (panel.value_counts[0].sum(axis=1) == 80).all()
    np.testing.assert_array_equal(panel.scatter_labels, labels)


def broken_run(path, how):
    writer = RunWriter(path, [Layer("0", 0.5), Layer("2", 0.5, noise_before=True)], labels=LABELS)
    made = arrays()
    for epoch in EPOCHS:
        layers = {name: made[epoch, name] for name in ("0", "2")}
        if epoch == 1 and how in (np.nan, np.inf):
            layers["2"][4, 0, 0] = how
        writer.add(epoch, layers)
    if how == "truncated":
        file = path / "epoch_00000001.npz"
        file.write_bytes(file.read_bytes()[:1000])
    return open_run(path)


@pytest.mark.parametrize("how", ["truncated", np.nan, np.inf])
def test_a_checkpoint_that_cannot_be_used_stays_empty_and_the_rest_is_there(tmp_path, how):
    run = broken_run(tmp_path / "run", how)
    panel = collect_panel(run)
    sums = panel.value_counts.sum(axis=2)
    assert sums[1].tolist() == [0, 60, 60, 60, 60, 60]
    assert sums[0].tolist() == [0 if how == "truncated" else 80, 80, 80, 80, 80, 80]
    assert np.isfinite(panel.value_edges).all()
    assert panel.snapshots[0] == 1
    assert panel.within[1].sum(axis=1).astype(bool).tolist() == [False, True, True, True]
    assert np.isnan(panel.scatter[0]).all()
    np.testing.assert_array_equal(panel.scatter[-1], run.noisy_samples(300, "2").X)


class Stumbling:
    """A store whose reader stumbles over one checkpoint in a way of its own."""

    def epochs(self):
        return list(EPOCHS)

    def shape(self, epoch, layer):  # noqa: ARG002
        return (20, 3), np.dtype(np.float64)

    def read(self, epoch, layer):  # noqa: ARG002
        if epoch == 3:
            raise EOFError("Compressed file ended before the end-of-stream marker was reached")
        return np.random.default_rng(epoch).normal(size=(20, 3))


def test_a_reader_that_stumbles_costs_its_checkpoint_and_no_more():
    panel = collect_panel(Run(Stumbling(), (Layer("a", 0.5),), labels=LABELS))
    assert panel.value_counts[0].sum(axis=1).tolist() == [60, 0, 60, 60, 60, 60]


LIMITED = """
import json
from pathlib import Path
import numpy as np
from skinfo import BinningMIEstimator
from skinfo.analysis import analyze_run
from skinfo.runs import Layer, Run

class Many:
    def epochs(self):
        return list(range(40))
    def shape(self, epoch, layer):
        return (20_000, 100), np.dtype(np.float64)
    def read(self, epoch, layer):
        return np.full((20_000, 100), float(epoch))

run = Run(Many(), (Layer("a", 0.0),))
estimators = {"binned": BinningMIEstimator(bin_width=1.0)}
table, panel = analyze_run(run, estimators, memory_limit=600_000_000, progress=False)
assert len(table["epoch"].unique()) == 40 and (panel.value_counts.sum(axis=2) == 2e6).all()
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_an_analysis_stays_under_its_limit_with_its_panel():
    """40 checkpoints of 16 MB: all of them at once pass the limit."""
    done = subprocess.run([sys.executable, "-c", LIMITED], check=True, capture_output=True)
    assert int(done.stdout) < 600e6


def test_distances_too_large_for_floats_leave_the_interpreter_alive():
    """Diverged training: finite activations whose squared distances, or ranges, overflow."""
    code = """
import warnings
import numpy as np
from skinfo import ClusteringScore, open_run
from skinfo.panel import collect_panel
warnings.simplefilter("ignore")
rows, labels = np.array([[1.0], [-1.0], [0.0], [0.5]] * 50), np.arange(200) % 2
expected = ClusteringScore().fit(rows, labels).auc_
for scale in (1e200, 1e308):
    try:
        assert abs(ClusteringScore().fit(rows * scale, labels).auc_ - expected) < 1e-9
    except ValueError as error:
        assert "large" in str(error) or "overflow" in str(error), error
    collect_panel(open_run({(1, "a"): rows * scale}, labels=labels))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_losses_are_those_of_the_run_and_nan_where_not_recorded(tmp_path):
    layer = Layer("only", 0.5)
    writer = RunWriter(tmp_path / "run", [layer], labels=LABELS)
    for epoch, losses in ((1, {"train_loss": 0.7}), (2, None),
                          (5, {"train_loss": 0.5, "test_loss": 0.6})):  # fmt: skip
        writer.add(epoch, {"only": np.zeros((20, 2))}, losses=losses)
    panel = collect_panel(open_run(tmp_path / "run"))
    np.testing.assert_array_equal(panel.losses["train_loss"], [0.7, np.nan, 0.5])
    np.testing.assert_array_equal(panel.losses["test_loss"], [np.nan, np.nan, 0.6])
    assert collect_panel(open_run(arrays())).losses == {}


def test_a_panel_of_a_run_on_disk_can_be_written(tmp_path, table):
    path = tmp_path / "flow.parquet"
    panel = collect_panel(broken_run(tmp_path / "run", None), settings={"path": "x"})
    write_table(path, table, panel)
    assert_same_panel(read_table(path)[1], panel)
    with zipfile.ZipFile(path.with_suffix(".npz")) as archive:
        assert archive.testzip() is None


# --- snapshots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "picked"),
    [
        ([7], [7]),
        ([0, 5], [0, 5]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([1, 2, 5, 10, 20, 50, 100, 500, 1000], [1, 20, 100, 1000]),
        ([0, 9, 99, 999, 9999, 99999, 999999], [0, 99, 9999, 999999]),
    ],
)
def test_snapshots_are_spread_over_the_logarithm(epochs, picked):
    assert pick_snapshots(epochs).tolist() == picked


@pytest.mark.parametrize("last", [5, 37, 1000])
@pytest.mark.parametrize("n", [2, 4, 7])
def test_snapshots_are_epochs_with_the_first_and_the_last(last, n):
    picked = pick_snapshots(np.arange(last + 1), n)
    assert picked[0] == 0
    assert picked[-1] == last
    assert 2 <= len(picked) <= n
    assert (np.diff(picked) > 0).all()


def test_a_table_written_by_hand_in_a_spreadsheet_is_read(tmp_path):
    header = "epoch,layer,estimator,quantity,value,stderr,lower,upper,unit,notes\n"
    path = tmp_path / "flow.csv"
    path.write_text(header + "1,hidden,n,mutual_info,0.5,0,,,nats,\n")
    found, panel = read_table(path)
    assert panel is None
    assert json.loads(found.to_json(orient="records")) == [
        {"epoch": 1, "layer": "hidden", "estimator": "n", "quantity": "mutual_info",
         "value": 0.5, "stderr": 0, "lower": None, "upper": None, "unit": "nats", "notes": ""},
    ]  # fmt: skip
