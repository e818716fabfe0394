"""Jobs, memory and progress change no number; files that cannot be read cost themselves alone."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skinfo import ClusteringScore, information_flow, open_run
from skinfo._progress import is_watched
from skinfo.runs import Layer

from .small_flows import LABELS, LAYERS, Spy, arrays, flow_of, on_disk, words, write_run

# --- jobs, memory, progress ----------------------------------------------------------------------


def test_numbers_do_not_depend_on_n_jobs(run, several, table):
    for n_jobs in (1, 2):
        found = flow_of(several, run, n_jobs=n_jobs)
        pd.testing.assert_frame_equal(found, table, check_exact=True)


def test_memory_fits_nothing_twice(run, spy, tmp_path):
    first = flow_of(spy, run, memory=str(tmp_path / "store"))
    assert Spy.fits == 6
    again = flow_of(spy, run, memory=tmp_path / "store", n_jobs=2)
    assert Spy.fits == 6
    pd.testing.assert_frame_equal(first, again, check_exact=True)


def test_memory_tells_estimators_and_subsets_apart(run, spy, tmp_path):
    flow_of(spy, run, memory=str(tmp_path))
    flow_of(Spy(tag=1), run, memory=str(tmp_path))
    assert Spy.fits == 12
    half = flow_of(spy, run, memory=str(tmp_path), subset=np.arange(12) < 6)
    assert Spy.fits == 18
    assert (half.loc[half["quantity"] == "n_rows", "value"] == 6).all()


def test_an_interrupted_sweep_goes_on_where_it_stopped(run, spy, tmp_path):
    def interrupt(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        information_flow(spy, run, memory=str(tmp_path), progress=interrupt)
    before = Spy.fits
    assert 4 <= before <= 6
    table = flow_of(spy, run, memory=str(tmp_path))
    assert Spy.fits == 6
    pd.testing.assert_frame_equal(table, flow_of(Spy(), run), check_exact=True)


def test_without_memory_nothing_is_kept(run, spy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flow_of(spy, run)
    flow_of(spy, run)
    assert Spy.fits == 12
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_progress_is_called_with_finished_and_all(run, several, n_jobs):
    calls = []
    information_flow(several, run, n_jobs=n_jobs, progress=lambda *c: calls.append(c))
    assert calls == [(k, 18) for k in range(1, 19)]


def test_a_progress_bar_goes_to_the_error_stream(run, spy, capsys):
    information_flow(spy, run, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "6/6" in err


def test_progress_false_is_silent(run, spy, capsys):
    information_flow(spy, run, progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("terminal", [False, True])
def test_by_itself_a_bar_is_shown_where_a_person_watches(run, spy, capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    information_flow(spy, run)
    assert ("6/6" in capsys.readouterr().err) == terminal


def test_a_notebook_is_watched(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert is_watched()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not is_watched()


def test_without_rich_there_is_no_bar_and_no_error(run, spy, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert len(information_flow(spy, run, progress=True)) == 6 * 7
    assert capsys.readouterr() == ("", "")


# --- nothing is lost -----------------------------------------------------------------------------


def damage(file, how):
    content = bytearray(file.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "emptied":
        content = bytearray()
    elif how == "overwritten":
        content[:] = b"x" * len(content)
    if how == "an array":
        with file.open("wb") as other:
            np.save(other, np.zeros((12, 2)))
    else:
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "n_jobs"),
    [("truncated", 1), ("truncated", 2), ("emptied", 1), ("overwritten", 1), ("an array", 1)],
)
def test_a_corrupt_checkpoint_is_a_row_and_a_warning_and_all_else_is_finished(
    tmp_path, several, how, n_jobs
):
    run = on_disk(tmp_path / "run")
    whole = flow_of(several, run)
    file = tmp_path / "run" / "epoch_00000010.npz"
    damage(file, how)
    with pytest.warns(UserWarning, match="epoch_00000010.npz") as caught:
        table = flow_of(several, run, n_jobs=n_jobs)
    assert len(caught) == len(LAYERS), "one for all estimators of a layer"
    unread = table[table["epoch"] == 10]
    assert unread[["layer", "estimator"]].to_numpy().tolist() == [
        [layer, name] for layer in LAYERS for name in several
    ]
    assert set(unread["notes"]) == {"read error"}
    assert unread[["value", "lower", "upper"]].isna().all(axis=None)
    rest, expected = (t[t["epoch"] != 10].reset_index(drop=True) for t in (table, whole))
    pd.testing.assert_frame_equal(rest, expected, check_exact=True)


def test_a_flipped_bit_is_a_read_error_and_no_number(tmp_path):
    run = on_disk(tmp_path / "run")
    file = tmp_path / "run" / "epoch_00000010.npz"
    content = bytearray(file.read_bytes())
    at = content.find(run.load(10, "back").array.tobytes())
    assert at > 0
    content[at + 6] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="epoch_00000010.npz.*'back'"):
        table = flow_of(ClusteringScore(), run)
    broken = table[table["notes"] == "read error"]
    assert broken[["epoch", "layer"]].to_numpy().tolist() == [[10, "back"]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_what_is_not_finite_is_a_read_error_of_its_layer(tmp_path, several, value, kind):
    made = arrays()
    whole = flow_of(several, open_run(made, labels=LABELS, sigma=0.5))
    made[10, "back"][3, 0, 1] = value
    if kind == "memory":
        run, named = open_run(made, labels=LABELS, sigma=0.5), "memory"
    else:
        layers = [Layer("front", 0.5), Layer("back", 0.5, noise_before=True)]
        run = write_run(tmp_path / "run", made, layers, labels=LABELS)
        named = "run"
    with pytest.warns(UserWarning, match=f"{named}, epoch 10, layer 'back'") as caught:
        table = flow_of(several, run)
    assert len(caught) == 1
    assert {"NaN" in str(w.message) for w in caught} == {True}
    unread = (table["epoch"] == 10) & (table["layer"] == "back")
    assert (table["notes"].eq("read error") == unread).all()
    ok = (whole["epoch"] != 10) | (whole["layer"] != "back")
    pd.testing.assert_frame_equal(
        table[~unread].reset_index(drop=True), whole[ok].reset_index(drop=True), check_exact=True
    )


def test_a_layer_that_one_checkpoint_lacks_is_a_read_error():
    made = arrays(shape=(12, 2))
    del made[10, "back"]
    run = open_run(made, labels=LABELS, sigma=0.5)
    with pytest.warns(UserWarning, match="no such layer at this epoch; it has: front"):
        table = flow_of(ClusteringScore(), run)
    unread = table[table["notes"] == "read error"]
    assert unread[["epoch", "layer"]].to_numpy().tolist() == [[10, "back"]]
    assert len(table) == 5 * len(ClusteringScore().fit(np.eye(12), LABELS).quantities_) + 1


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.array([["a"] * 2] * 12), "where numbers are expected"),
        (np.zeros((12, 3, 4, 4)), "choose flatten='all'"),
        (np.zeros((11, 2)), "12 labels, one per input, for 11 rows"),
        (np.zeros((0, 2)), "shape"),
    ],
    ids=["words", "maps", "short", "empty"],
)
def test_activations_that_cannot_be_used_are_a_read_error(array, says):
    made = arrays(shape=(12, 2))
    made[10, "front"] = array
    with pytest.warns(UserWarning, match=says):
        table = flow_of(ClusteringScore(), open_run(made, labels=LABELS, sigma=0.5))
    assert table["notes"].eq("read error").sum() == 1
    assert len(table) == 5 * len(ClusteringScore().fit(np.eye(12), LABELS).quantities_) + 1


def test_read_errors_are_not_kept_in_memory(tmp_path, spy):
    run = on_disk(tmp_path / "run")
    file = tmp_path / "run" / "epoch_00000010.npz"
    content = file.read_bytes()
    damage(file, "truncated")
    with pytest.warns(UserWarning, match="not measured"):
        flow_of(spy, run, memory=str(tmp_path / "store"))
    assert Spy.fits == 4
    file.write_bytes(content)
    table = flow_of(spy, run, memory=str(tmp_path / "store"))
    assert Spy.fits == 6
    assert words(table) == set()
