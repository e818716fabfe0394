"""skinfo analyze: what it writes, warns of, keeps, and takes from a settings file."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import skinfo
from skinfo import _progress, information_flow, open_run
from skinfo.cli.analyze import _print_last_checkpoint
from skinfo.flow.tables import read_table

from .written import (
    LABELS,
    MIXED,
    QUICK,
    SILENT,
    assert_the_rest_is_there,
    says,
    started,
    write_run,
)


@pytest.mark.parametrize("name", ["flow.parquet", "other.csv"])
def test_analyze_writes_what_information_flow_measures(run, tables, name):
    table, snapshots = read_table(tables / name)
    estimators = {
        "noisy": skinfo.NoisyMIEstimator(None, tol=0.2, random_state=0),
        "binned": skinfo.BinningMIEstimator(bin_range="run"),
        "clustered": skinfo.ClusteringScore(),
    }
    expected = information_flow(estimators, open_run(run), progress=False)
    table.attrs = {}
    pd.testing.assert_frame_equal(table, expected, rtol=1e-12)
    assert snapshots.layers == ["first", "second"]
    assert snapshots.value_counts.sum() == 3 * 2 * 16 * 2
    np.testing.assert_allclose(snapshots.losses["train_loss"], [1 / 2, 1 / 11, 1 / 101])


def test_analyze_puts_the_runs_settings_into_the_tables_metadata(run, tables):
    for settings in (
        pd.read_parquet(tables / "flow.parquet").attrs,
        read_table(tables / "other.csv")[1].settings,
    ):
        assert settings["run"] == str(run)
        assert [layer["sigma"] for layer in settings["layers"]] == [0.5, 0.5]
        assert settings["estimators"]["noisy"]["class"] == "NoisyMIEstimator"
        assert settings["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize("watched", [False, True])
def test_analyze_says_what_it_wrote(call, run, tmp_path, monkeypatch, watched):
    """A bar shows how far it is where a person watches."""
    monkeypatch.setattr(_progress, "is_watched", lambda: watched)
    target = tmp_path / "flow.csv"
    code, out, err = call("analyze", run, "-o", target, *QUICK)
    assert code == 0
    assert says(out, f"{len(pd.read_csv(target))} rows in {target}")
    assert ("18/18" in err) == watched
    assert watched or not err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flow.csv", "flow.npz"]


def test_analyze_takes_its_options(call, run, tmp_path):
    target = tmp_path / "flow.csv"
    options = ("--units", "bits", "--subset", "train", "--bin-width", "1e-9", "--sigma", "0.25")
    assert call("analyze", run, "-o", target, *options, *QUICK)[0] == 0
    table, snapshots = read_table(target)
    assert set(table["unit"]) == {"bits", ""}
    binned = table.query("estimator == 'binned' and quantity == 'binned_entropy'")
    np.testing.assert_allclose(binned["value"], np.log2(10))
    noisy = table.query("estimator == 'noisy' and quantity == 'mutual_info'")
    assert noisy["notes"].str.contains("sigma differs from run").all()
    assert snapshots.value_counts.sum() == 3 * 2 * 10 * 2


def test_analyze_draws_the_noise_as_often_as_it_is_told(call, run, tables, tmp_path):
    """Of one draw the error is unknown."""
    target = tmp_path / "flow.csv"
    options = ("--noise-draws", 3, "--random-state", 4, "--bin-width", 1)
    assert call("analyze", run, "-o", target, *options, *QUICK)[0] == 0
    table, snapshots = read_table(target)
    stderr = table.loc[table["quantity"] == "binned_entropy", "stderr"]
    assert (stderr > 0).any()
    assert stderr.notna().all()
    assert (snapshots.settings["n_noise_draws"], snapshots.settings["random_state"]) == (3, 4)
    assert snapshots.settings["estimators"]["noisy"]["random_state"] == 4
    one = read_table(tables / "flow.parquet")[0]
    assert one.loc[one["quantity"] == "binned_entropy", "stderr"].isna().all()


def test_analyze_of_sampled_inputs_has_no_ceiling(call, run, tmp_path):
    target = tmp_path / "flow.csv"
    permuted = ("--n-permutations", "19", *QUICK)
    code, _, err = call("analyze", run, "-o", target, *permuted)
    assert code == 2
    assert says(err, "n_permutations is for population=True")
    assert call("analyze", run, "-o", target, "--population", *permuted)[0] == 0
    table = read_table(target)[0]
    p_values = table.query("quantity == 'label_p_value'")["value"]
    assert len(p_values) == 6
    assert (p_values >= 1 / 20).all()
    ceiling = table.query("estimator == 'noisy' and quantity == 'ceiling'")["value"]
    assert len(ceiling) == 6
    assert np.isinf(ceiling).all()


def test_analyze_gives_the_same_file_for_any_number_of_jobs(call, run, tmp_path):
    for jobs in (1, 2):
        assert call("analyze", run, "-o", tmp_path / f"{jobs}.csv", "--jobs", jobs, *QUICK)[0] == 0
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_analyze_keeps_estimates_where_it_is_told(call, run, tmp_path):
    store, target = tmp_path / "store", tmp_path / "flow.csv"
    options = ("-o", target, "--memory", store, "--force", *QUICK)
    assert call("analyze", run, *options)[0] == 0
    kept = {p: p.stat().st_mtime_ns for p in store.glob("*.json")}
    assert len(kept) == 18
    first = target.read_bytes()
    assert call("analyze", run, *options)[0] == 0
    assert {p: p.stat().st_mtime_ns for p in store.glob("*.json")} == kept
    assert target.read_bytes() == first


def test_analyze_measures_noise_where_there_is_noise(call, tmp_path):
    """Layers without noise are binned and clustered only; the noisy ones are measured."""
    run, target = write_run(tmp_path / "run", MIXED), tmp_path / "flow.csv"
    assert call("analyze", run, "-o", target, *QUICK)[0] == 0
    measured = read_table(target)[0].groupby("layer")["estimator"].agg(set)
    assert measured["second"] == {"binned", "clustered", "noisy"}
    noisy = read_table(target)[0].query("layer == 'second' and estimator == 'noisy'")
    assert set(noisy["notes"]) == {"no noise"}
    assert noisy["value"].isna().all()
    assert measured["first"] == {"noisy", "binned", "clustered"}


def test_analyze_of_a_deterministic_run_declares_noise_and_says_so(call, tmp_path):
    run, target = write_run(tmp_path / "run", SILENT), tmp_path / "flow.csv"
    code, out, err = call("analyze", run, "-o", target)
    assert code == 0
    assert says(out, "--sigmas .1:10:12")
    assert says(err, "no noise on record", "0.5 times the root mean square")
    assert "no labels" not in err
    at_noise = {"labels at 0.5 rms", "sliced at 0.5 rms"}
    assert set(read_table(target)[0]["estimator"]) == {"binned", "clustered", *at_noise}


def test_analyze_of_a_run_without_labels_does_not_cluster(call, tmp_path):
    run, target = write_run(tmp_path / "run", labels=None), tmp_path / "flow.csv"
    code, _, err = call("analyze", run, "-o", target, *QUICK)
    assert code == 0
    assert says(err, run, "no labels, so no classes", "--labels FILE")
    assert "no noise" not in err
    assert set(read_table(target)[0]["estimator"]) == {"noisy", "binned"}


@pytest.fixture
def dump(tmp_path):
    """Checkpoints that something else saved, with more in them than layers."""
    rng = np.random.default_rng(0)
    (tmp_path / "dump").mkdir()
    for epoch in range(1, 7):
        layers = {"fc1": rng.random((16, 3)), "fc2": rng.random((16, 2))}
        others = {"y": LABELS, "loss": 0.3, "epoch": epoch}
        np.savez(tmp_path / "dump" / f"{epoch}.npz", **layers, **others)
    np.save(tmp_path / "y.npy", LABELS)
    return tmp_path / "dump"


def test_analyze_says_an_error_once_and_which_layers_to_name(call, dump, tmp_path):
    code, _, err = call("analyze", dump, "-o", tmp_path / "flow.csv")
    assert code == 1
    lines = [line for line in err.splitlines() if "not measured" in line]
    assert len(lines) == 2
    assert lines[0].endswith("the same at 6 checkpoints of layer y")
    assert lines[1].endswith("the same at 6 checkpoints of layers loss, epoch")
    assert err.count("--layers fc1,fc2 leaves them out") == 1
    assert says(err, "no noise on record")


def test_info_says_which_layers_to_name(call, dump, tmp_path):
    code, out, err = call("info", dump)
    assert code == 1
    assert "one float64" in out
    assert err.count("--layers fc1,fc2 leaves them out") == 1
    code, out, err = call("info", dump, "--layers", "fc1,fc2", "--labels", tmp_path / "y.npy")
    assert (code, err) == (0, "")
    assert "16 inputs of 2 classes" in out


@pytest.mark.parametrize("from_file", [False, True])
def test_analyze_takes_labels_and_layers(call, dump, tmp_path, from_file):
    target, labels = tmp_path / "flow.csv", tmp_path / "y.npy"
    options = ["--layers", "fc2,fc1", "--labels", labels]
    if from_file:
        config = tmp_path / "settings.toml"
        config.write_text(f'layers = ["fc2", "fc1"]\nlabels = "{labels.as_posix()}"\n')
        options = ["--config", config]
    code, _, err = call("analyze", dump, "-o", target, *options)
    assert code == 0
    assert "not clustered" not in err
    table, snapshots = read_table(target)
    assert set(table["estimator"]) >= {"binned", "clustered", "labels at 0.5 rms"}
    assert snapshots.layers == ["fc2", "fc1"]


def test_analyze_of_a_run_that_names_its_layers_takes_no_others(call, run, tmp_path):
    code, _, err = call("analyze", run, "-o", tmp_path / "flow.csv", "--layers", "second")
    assert code == 2
    assert says(err, "its layers differ from what was given")


def test_a_message_says_which_arguments_are_of_python(call, tmp_path):
    np.savez(tmp_path / "1.npz", fc2=np.random.default_rng(0).random((16, 3, 2)))
    _, _, err = call("analyze", tmp_path, "-o", tmp_path / "flow.csv")
    assert says(err, "axes={'fc2': 'nrc'}", "arguments of open_run in Python", "--flatten")


@pytest.mark.parametrize("options", [(), ("--subset", "train")], ids=["all", "subset"])
def test_analyze_of_one_class_still_measures_the_rest(call, tmp_path, options):
    """The training inputs are the first ten, the second class is among the others only."""
    labels = np.zeros(16, dtype=int)
    labels[12:] = bool(options)
    run = write_run(tmp_path / "run", labels=labels)
    target = tmp_path / "flow.csv"
    assert call("analyze", run, "-o", target, *options, *QUICK)[0] == 0
    table = read_table(target)[0]
    assert {"noisy", "binned"} == set(table["estimator"])


@pytest.mark.parametrize("there", ["flow.csv", "flow.npz"])
def test_analyze_overwrites_nothing_without_force(call, run, tmp_path, there):
    (tmp_path / there).write_text("mine")
    code, out, err = call("analyze", run, "-o", tmp_path / "flow.csv", *QUICK)
    assert (code, out) == (2, "")
    assert says(err, tmp_path / there, "exists", "--force")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(there, "mine")]
    assert call("analyze", run, "-o", tmp_path / "flow.csv", "--force", *QUICK)[0] == 0
    assert len(read_table(tmp_path / "flow.csv")[0]) == 192


def test_analyze_of_a_run_without_checkpoints_is_refused(call, tmp_path):
    run = write_run(tmp_path / "run", epochs=())
    code, _, err = call("analyze", run, "-o", tmp_path / "flow.csv")
    assert code == 2
    assert says(err, run, "no checkpoints")


def test_analyze_finishes_the_rest_of_a_run_with_nan(tmp_path):
    """In a process of its own: a kernel that meets NaN may take the interpreter with it."""
    run, target = write_run(tmp_path / "run", broken="nan"), tmp_path / "flow.csv"
    script = Path(sys.executable).parent / "skinfo"
    done = started([script, "analyze", run, "-o", target, *QUICK], tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert says(done.stderr, "epoch 10, layer 'second'", "could not be read")
    assert_the_rest_is_there(target, ["second"])


# --- a settings file -----------------------------------------------------------------------------


def settings_file(folder, text):
    path = folder / "analysis.toml"
    path.write_text(text)
    return path


def test_a_file_stands_for_options_and_the_command_line_wins(call, run, tmp_path):
    file = settings_file(
        tmp_path, 'tol = 0.2\nunits = "bits"\nbin-width = 1e-9\nsubset = "train"\njobs = 1\n'
    )
    target = tmp_path / "flow.csv"
    assert call("analyze", run, "--config", file, "-o", target)[0] == 0
    binned = read_table(target)[0].query("estimator == 'binned' and quantity == 'binned_entropy'")
    np.testing.assert_allclose(binned["value"], np.log2(10))
    options = ("--units", "nats", "--force", "-o", target)
    assert call("analyze", run, "--config", file, *options)[0] == 0
    binned = read_table(target)[0].query("estimator == 'binned' and quantity == 'binned_entropy'")
    np.testing.assert_allclose(binned["value"], np.log(10))


def test_a_file_describes_estimators(call, run, tmp_path):
    file = settings_file(
        tmp_path,
        """
        [estimators.narrow]
        kind = "binned"
        bin_width = 0.01
        [estimators.wide]
        kind = "binned"
        bin_width = 100.0
        [estimators.noisy]
        kind = "noisy"
        tol = 0.2
        [estimators.classes]
        kind = "clustered"
        measures = ["nc2"]
        """,
    )
    target = tmp_path / "flow.csv"
    assert call("analyze", run, "--config", file, "-o", target)[0] == 0
    table, snapshots = read_table(target)
    assert set(table["estimator"]) == {"narrow", "wide", "noisy", "classes"}
    entropy = table.query("quantity == 'binned_entropy'").groupby("estimator")["value"].mean()
    assert entropy["narrow"] == pytest.approx(np.log(16))
    assert entropy["wide"] < np.log(17) - entropy["wide"]
    assert "nc2_equinorm" in set(table["quantity"])
    assert snapshots.settings["estimators"]["noisy"]["sigma"] is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sigma = ", ["analysis.toml", "cannot be read as settings"]),
        ("sgima = 0.1", ["no setting 'sgima'", "sigma"]),
        ("run = 'x'", ["no setting 'run'"]),
        ("sigma = 'much'", ["--sigma", "valid number"]),
        ("tol = 0.1\n[estimators.a]\nkind = 'noisy'", ["tol stands beside [estimators]"]),
        ("estimators = 3", ["tables such as"]),
        (
            "[estimators.a]\nkind = 'kde'",
            ["[estimators.a]", "'kde'", "noisy, binned, clustered, sliced"],
        ),
        (
            "[estimators.a]\nkind = ['noisy']",
            ["[estimators.a]", "['noisy']", "noisy, binned, clu"],
        ),
        (
            "[estimators.a]\nkind = {}",
            ["[estimators.a]", "kind {}", "noisy, binned, clustered, sliced"],
        ),
        (
            "[estimators.a]\ntol = 0.1",
            ["no kind", 'add kind = "noisy" | "binned" | "clustered" | "sliced"'],
        ),
        ("[estimators.a]\nkind = 'noisy'\nwidth = 3", ["[estimators.a]", "'width'", "tol"]),
        ("[estimators.a]\nkind = 'noisy'\ntol = -1", ["tol"]),
    ],
)
def test_a_wrong_file_is_named(call, run, tmp_path, text, parts):
    file = settings_file(tmp_path, text)
    code, _, err = call("analyze", run, "--config", file, "-o", tmp_path / "flow.csv")
    assert code == 2
    assert says(err, *parts)
    assert [p.name for p in tmp_path.iterdir()] == ["analysis.toml"]


def test_an_option_that_a_file_leaves_without_effect_is_refused(call, run, tmp_path):
    file = settings_file(tmp_path, "[estimators.a]\nkind = 'binned'\n")
    code, _, err = call("analyze", run, "--config", file, "--bin-width", 1)
    assert code == 2
    assert says(err, "--bin-width has no effect", file)


def test_a_file_that_is_not_there(call, run, tmp_path):
    code, _, err = call("analyze", run, "--config", tmp_path / "no.toml")
    assert code == 2
    assert says(err, "no.toml", "cannot be read as settings")


@pytest.mark.filterwarnings("always:not measured")
def test_analyze_prints_json_alone(call, tmp_path):
    run = write_run(tmp_path / "run", epochs=(1, 10), broken="truncated")
    target = tmp_path / "flow.csv"
    code, out, _ = call("analyze", run, "-o", target, "--json", *QUICK)
    assert code == 1
    found = json.loads(out)
    table = read_table(target)[0]
    assert found["table"] == str(target)
    assert found["rows"] == len(table)
    assert found["unread"] == found["notes"]["read error"] == 6


@pytest.fixture
def heard():
    """SIGINT reaches children too where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_an_interrupted_analysis_says_so_and_keeps_what_was_finished(tmp_path):
    run = write_run(tmp_path / "run", epochs=range(1, 60))
    kept, target = str(tmp_path / "kept"), str(tmp_path / "flow.csv")
    options = ["--memory", kept, "-o", target, "--tol", "0.005"]
    command = [
        sys.executable,
        "-c",
        "from skinfo.cli import main; main()",
        "analyze",
        str(run),
        *options,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("kept/*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert list(tmp_path.glob("kept/*.json"))
    assert not (tmp_path / "flow.csv").exists()
    assert open_run(run).epochs[-1] == 59


def test_analyze_prints_the_last_checkpoint(call, run, tmp_path):
    code, out, _ = call("analyze", run, "-o", tmp_path / "flow.csv", *QUICK)
    assert code == 0
    table, _ = read_table(tmp_path / "flow.csv")
    last = table[table["epoch"] == 100].set_index(["layer", "quantity"])
    assert "At epoch 100, in nats; in brackets the ends" in out
    for layer in ("first", "second"):
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [layer])
        words = " ".join(line.split())
        for quantity in ("mutual_info", "label_mutual_info"):
            value, lower, upper = last.loc[(layer, quantity), ["value", "lower", "upper"]]
            assert f"{value:.3f} [{lower:.3f}, {upper:.3f}]" in words
        assert words.endswith(f" {last.loc[(layer, 'auc'), 'value']:.3f}")


def test_printed_beside_predicted_information_is_what_permuted_labels_gave(capsys):
    numbers = [
        ("a", "labels", "label_mutual_info", 0.5, 0.4, 1.0),
        ("a", "labels", "label_null", 0.0, -1.0, 0.25),
        ("b", "", "", np.nan, np.nan, np.nan), ("b", "labels", "", np.nan, np.nan, np.nan),
        *(("a", f"more{k}", "auc", 0.75, 0.75, 0.75) for k in range(9)),
    ]  # fmt: skip
    names = ["layer", "estimator", "quantity", "value", "lower", "upper"]
    _print_last_checkpoint(
        pd.DataFrame(numbers, columns=names).assign(epoch=3, unit="nats", notes="", stderr=0.0)
    )
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "0.500", "[0.400,", "1.000]", "to", "0.250", *["0.750"] * 6] in lines
    assert ["b"] in lines
    assert lines[-1][:3] == ["3", "more", "columns"]
