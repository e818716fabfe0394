"""The table on disk, and the arrays beside it that a picture needs."""

import json
import os
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    information_flow,
    open_run,
)
from skinfo.errors import MissingExtraError
from skinfo.flow.snapshots import collect_snapshots
from skinfo.flow.tables import check_output, read_table, write_table

from small_runs import LABELS, arrays, broken_run

SETTINGS = {"run": "szt", "sigma": 0.005, "layers": [{"name": "0", "sigma": None}], "seed": 3}


@pytest.fixture(scope="module")
def run():
    return open_run(arrays(), labels=LABELS, sigma=0.5)


@pytest.fixture(scope="module")
def table(run):
    estimators = [NoisyMIEstimator(0.4, tol=0.1, random_state=0), ClusteringScore()]
    table = information_flow(estimators, run, progress=False)
    # Settings are those of the snapshots here.
    table.attrs = {}
    return table


@pytest.fixture(scope="module")
def snapshots(run):
    return replace(
        collect_snapshots(run, settings=SETTINGS),
        losses={"train_loss": np.linspace(1, 0, 6), "test_loss": np.array([1, *[np.nan] * 5])},
    )


def assert_same_snapshots(found, expected):
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
def test_a_table_and_its_snapshots_come_back_as_they_were(tmp_path, table, snapshots, suffix):
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, snapshots)
    assert {p.name for p in tmp_path.iterdir()} == {"flow.npz", f"flow{suffix}"}
    found, beside = read_table(path)
    found.attrs = {}
    pd.testing.assert_frame_equal(found, table, check_exact=True)
    assert_same_snapshots(beside, snapshots)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_every_digit_and_every_infinity_survives(tmp_path, table, snapshots, suffix):
    rng = np.random.default_rng(0)
    numbers = table.assign(value=rng.normal(size=len(table)) * 10.0 ** rng.integers(-20, 20))
    numbers.loc[0, ["lower", "upper"]] = [-np.inf, np.inf]
    numbers.loc[1, ["value", "lower", "upper"]] = np.nan
    path = tmp_path / f"flow{suffix}"
    write_table(path, numbers, snapshots)
    columns = ["value", "stderr", "lower", "upper"]
    np.testing.assert_array_equal(read_table(path)[0][columns], numbers[columns])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("estimator", [ClusteringScore(), BinningMIEstimator(n_bins=3)])
def test_columns_without_a_word_come_back_as_words(tmp_path, run, snapshots, suffix, estimator):
    """No note at all is the usual case; a clustering table has no unit either."""
    table = information_flow(estimator, run, progress=False)
    table = table.assign(notes="")
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, snapshots)
    found = read_table(path)[0]
    for column in ("unit", "notes", "quantity"):
        assert found[column].tolist() == table[column].tolist()
    assert not found["notes"].str.contains("read error").any()


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_read_error_row_comes_back(tmp_path, snapshots, suffix):
    made = arrays()
    made[3, "2"][0, 0, 0] = np.nan
    with pytest.warns(UserWarning, match="epoch 3, layer '2'"):
        table = information_flow(BinningMIEstimator(), open_run(made, axes="nrc"), progress=False)
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, snapshots)
    row = read_table(path)[0].query("notes == 'read error'")
    assert row[["epoch", "layer", "quantity", "unit"]].to_numpy().tolist() == [[3, "2", "", ""]]
    assert row["value"].isna().all()


def test_settings_travel_in_the_metadata_of_the_table(tmp_path, table, snapshots):
    write_table(tmp_path / "flow.parquet", table, snapshots)
    assert pd.read_parquet(tmp_path / "flow.parquet").attrs == SETTINGS
    assert read_table(tmp_path / "flow.parquet")[0].attrs == SETTINGS
    assert table.attrs == {}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_settings_travel_in_the_snapshots(tmp_path, table, snapshots, suffix):
    write_table(tmp_path / f"flow{suffix}", table, snapshots)
    assert read_table(tmp_path / f"flow{suffix}")[1].settings == SETTINGS


def test_a_table_alone_has_no_snapshots(tmp_path, table, snapshots):
    write_table(tmp_path / "flow.csv", table, snapshots)
    (tmp_path / "flow.npz").unlink()
    found, beside = read_table(tmp_path / "flow.csv")
    assert len(found) == len(table)
    assert beside is None


def test_nothing_is_pickled(tmp_path, table, snapshots):
    write_table(tmp_path / "flow.csv", table, snapshots)
    with np.load(tmp_path / "flow.npz", allow_pickle=False) as archive:
        kinds = {name: archive[name].dtype.kind for name in archive.files}
    expected = {
        "layers", "epochs", "value_edges", "value_counts", "snapshot_epochs", "scatter",
        "scatter_labels", "distance_edges", "within", "between", "settings",
        "loss:train_loss", "loss:test_loss", "table", "pointwise", "pointwise_stderr", "inputs",
        "input_classes", "classes", "confusion", "confusion_stderr", "class_conditional",
        "class_conditional_stderr",
    }  # fmt: skip
    assert set(kinds) == expected
    assert set(kinds.values()) <= {"f", "i", "U"}


def test_writing_leaves_the_callers_table_alone(tmp_path, table, snapshots):
    before = table.copy()
    write_table(tmp_path / "flow.parquet", table, snapshots)
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


def test_writing_replaces_the_old_table_and_snapshots(tmp_path, table, snapshots):
    path = tmp_path / "flow.csv"
    write_table(path, table, snapshots)
    write_table(path, table.head(3), replace(snapshots, layers=["a", "b"]))
    found, beside = read_table(path)
    assert len(found) == 3
    assert beside.layers == ["a", "b"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_write_that_fails_leaves_the_old_files(tmp_path, table, snapshots, suffix):
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, snapshots)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        write_table(path, table.head(3), replace(snapshots, settings={"run": object()}))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["flow.txt", "flow", "flow.npz", "flow.csv.gz"])
def test_another_suffix_is_refused(tmp_path, table, snapshots, name):
    with pytest.raises(ValueError, match=r"\.parquet or \.csv"):
        write_table(tmp_path / name, table, snapshots)
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
    with pytest.raises(ValueError, match=f"{name} (cannot be read|is not a flow table)"):
        read_table(path)


@pytest.mark.parametrize(
    "missing", ["epoch", "layer", "estimator", "quantity", "value", "lower", "upper", "unit"]
)
def test_a_table_without_a_column_that_pictures_need_is_no_flow_table(tmp_path, table, missing):
    path = tmp_path / "flow.csv"
    table.drop(columns=missing).to_csv(path, index=False)
    with pytest.raises(ValueError, match=f"not a flow table.*'{missing}'"):
        read_table(path)


def test_a_truncated_table_is_named(tmp_path, table, snapshots):
    path = tmp_path / "flow.parquet"
    write_table(path, table, snapshots)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"flow\.parquet cannot be read"):
        read_table(path)


@pytest.mark.parametrize("how", ["text", "truncated", "empty", "npy"])
def test_a_corrupt_npz_beside_is_named(tmp_path, table, snapshots, how):
    path = tmp_path / "flow.csv"
    write_table(path, table, snapshots)
    beside = tmp_path / "flow.npz"
    if how == "npy":
        with beside.open("wb") as file:
            np.save(file, np.arange(3))
    else:
        content = beside.read_bytes()
        beside.write_bytes({"text": b"hello", "truncated": content[:-200], "empty": b""}[how])
    with pytest.raises(ValueError, match=r"flow\.npz"):
        read_table(path)


def test_an_npz_of_something_else_is_named(tmp_path, table, snapshots):
    """A checkpoint of a run, say, that was copied beside a table of its name."""
    path = tmp_path / "flow.csv"
    write_table(path, table, snapshots)
    np.savez(tmp_path / "flow.npz", hidden=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"flow\.npz"):
        read_table(path)


class Trap:
    """Shows itself when unpickled."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def test_a_pickle_beside_a_table_is_never_loaded(tmp_path, table, snapshots):
    path = tmp_path / "flow.csv"
    write_table(path, table, snapshots)
    np.savez(tmp_path / "flow.npz", layers=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match=r"flow\.npz cannot be read"):
        read_table(path)
    assert not Trap.sprung


def test_parquet_without_pyarrow_names_the_extra(tmp_path, table, snapshots, monkeypatch):
    write_table(tmp_path / "flow.parquet", table, snapshots)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'skinfo\[runs\]'"):
        read_table(tmp_path / "flow.parquet")
    with pytest.raises(MissingExtraError, match=r"pip install 'skinfo\[runs\]'"):
        write_table(tmp_path / "new.parquet", table, snapshots)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flow.npz", "flow.parquet"]
    write_table(tmp_path / "new.csv", table, snapshots)
    assert (tmp_path / "new.csv").read_text().count("\n") == len(table) + 1


def test_snapshots_of_a_run_on_disk_can_be_written(tmp_path, table):
    path = tmp_path / "flow.parquet"
    snapshots = collect_snapshots(broken_run(tmp_path / "run", None), settings={"path": "x"})
    write_table(path, table, snapshots)
    assert_same_snapshots(read_table(path)[1], snapshots)
    with zipfile.ZipFile(path.with_suffix(".npz")) as archive:
        assert archive.testzip() is None


def test_a_table_written_by_hand_in_a_spreadsheet_is_read(tmp_path):
    header = "epoch,layer,estimator,quantity,value,stderr,lower,upper,unit,notes\n"
    path = tmp_path / "flow.csv"
    path.write_text(header + "1,hidden,n,mutual_info,0.5,0,,,nats,\n")
    found, snapshots = read_table(path)
    assert snapshots is None
    assert json.loads(found.to_json(orient="records")) == [
        {"epoch": 1, "layer": "hidden", "estimator": "n", "quantity": "mutual_info",
         "value": 0.5, "stderr": 0, "lower": None, "upper": None, "unit": "nats", "notes": ""},
    ]  # fmt: skip


# --- edited by hand ------------------------------------------------------------------------------

ROW = {"epoch": 1, "layer": "a", "estimator": "n", "quantity": "mutual_info", "value": 0.5,
       "stderr": 0.0, "lower": 0.4, "upper": 0.6, "unit": "nats", "notes": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        *(("epoch", cell, "a whole number from 0 to 2**53")
          for cell in ("", "one", "1.5", "-1", "inf", "nan", "1e20", str(2**53 + 2), "True", "1j")),
        *((column, cell, "a number, or nothing") for column in ("value", "stderr", "lower", "upper")
          for cell in ("much", "1+2j", "2026-01-02", "[1, 2]", "True", "1,5")),
        ("layer", "", "the name of a layer"),
    ],
)  # fmt: skip
def test_a_cell_that_is_not_what_its_column_holds_is_named(tmp_path, column, cell, expected):
    path = tmp_path / "flow.csv"
    rows = [ROW, ROW | {"epoch": 2, column: cell}]
    pd.DataFrame(rows, columns=list(ROW)).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"flow\.csv, row 2, column ") as error:
        read_table(path)
    assert f"column {column!r}: expected {expected}; got " in str(error.value)
    assert "np." not in str(error.value)


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("value", [[1.0], [2.0]], "a number"),
        ("value", [True, False], "a number"),
        ("value", pd.to_datetime(["2026-01-02"] * 2), "a number"),
        ("epoch", [None, 2], "a whole number"),
        ("layer", [1, 2], "the name"),
        ("layer", [None, "a"], "the name"),
        ("notes", [["saturated"], []], "text"),
        ("unit", [b"nats", b"nats"], "text"),
    ],
)
def test_a_cell_of_another_type_is_named(tmp_path, column, cells, expected):
    path = tmp_path / "flow.parquet"
    table = pd.DataFrame([ROW, ROW | {"epoch": 2}]).assign(**{column: cells})
    table.to_parquet(path, index=False)
    with pytest.raises(ValueError, match=rf"row 1, column '{column}': expected {expected}"):
        read_table(path)


def test_what_another_program_leaves_empty_is_no_text(tmp_path):
    table = pd.DataFrame([ROW]).assign(notes=[None], value=[None], epoch=[1.0])
    table.to_parquet(tmp_path / "flow.parquet", index=False)
    found, _ = read_table(tmp_path / "flow.parquet")
    assert found[["notes", "epoch"]].to_numpy().tolist() == [["", 1]]
    assert found["value"].isna().all()


def test_a_number_that_stands_twice_and_a_table_without_rows_are_named(tmp_path):
    path = tmp_path / "flow.csv"
    pd.DataFrame([ROW, ROW]).to_csv(path, index=False)
    with pytest.raises(ValueError, match="epoch 1, layer 'a', n mutual_info more than once"):
        read_table(path)
    pd.DataFrame([ROW])[:0].to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"flow\.csv has no rows"):
        read_table(path)


@pytest.mark.parametrize("name", ["a\rb", "a\r", "\r", "a\r\nb", "a\nb", 'a"\r,b', " ", "nan", "é"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_any_name_of_a_layer_comes_back(tmp_path, name, suffix):
    table = pd.DataFrame([ROW | {"layer": name}, ROW | {"epoch": 2, "notes": name}])
    write_table(tmp_path / f"flow{suffix}", table)
    found = read_table(tmp_path / f"flow{suffix}")[0]
    pd.testing.assert_frame_equal(found, table, check_exact=True, check_dtype=False)


# --- two files, one result -----------------------------------------------------------------------


class Killed(BaseException):
    pass


def kill_after(patch, steps):
    """From some change to the disk on every change fails, as if the process were gone."""
    left = [steps]

    def dying(original):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return original(*arguments, **options)

        return call

    for name in ("replace", "fsync", "unlink", "open"):
        patch.setattr(os, name, dying(getattr(os, name)))


@pytest.mark.parametrize(("suffix", "begun"), [(".parquet", True), (".csv", True), (".csv", False)])
def test_killed_at_any_step_both_files_are_old_or_both_new(
    tmp_path, table, snapshots, suffix, begun, monkeypatch
):
    path, seen = tmp_path / f"flow{suffix}", set()
    new = replace(snapshots, layers=["a", "b"], settings={"run": "new"})
    for steps in range(100):
        for file in tmp_path.iterdir():
            file.unlink()
        if begun:
            write_table(path, table, snapshots)
        killed = False
        with monkeypatch.context() as patch:
            kill_after(patch, steps)
            try:
                write_table(path, table.head(3), new)
            except Killed:
                killed = True
        if path.exists():
            found, beside = read_table(path)
            seen.add(len(found))
            assert_same_snapshots(beside, new if len(found) == 3 else snapshots)
        write_table(path, table.head(5), snapshots)
        assert {file.name for file in tmp_path.iterdir()} == {path.name, "flow.npz"}
        if not killed:
            break
    assert 4 < steps < 99
    assert seen == {len(table), 3} if begun else {3}


def test_two_analyses_of_one_name_leave_one_of_them(tmp_path, table, snapshots):
    path = tmp_path / "flow.csv"

    def write(rows):
        for _ in range(5):
            write_table(path, table.head(rows), replace(snapshots, layers=["a"] * rows))

    write(1)
    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write, rows) for rows in (2, 3)]
        while not all(one.done() for one in writing):
            found, beside = read_table(path)
            assert len(beside.layers) == len(found)
    for one in writing:
        one.result()
    assert {file.name for file in tmp_path.iterdir()} == {"flow.csv", "flow.npz"}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_snapshots_of_another_version_are_not_taken_for_those_of_a_table(
    tmp_path, table, snapshots, suffix
):
    path = tmp_path / f"flow{suffix}"
    write_table(path, table, snapshots)
    write_table(tmp_path / f"new{suffix}", table.head(3))
    (tmp_path / f"new{suffix}").replace(path)
    with pytest.raises(ValueError, match=r"flow\.npz does not belong to flow\..* as it is now"):
        read_table(path)
    (tmp_path / "flow.npz").unlink()
    assert len(read_table(path)[0]) == 3
