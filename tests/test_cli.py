"""The commands as a user types them: what they print, write, refuse, and with which exit code."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import skinfo
from skinfo import cli, information_flow, open_run
from skinfo.flow.tables import read_table, write_table
from skinfo.monitoring import log_spaced_epochs
from skinfo.runs import Layer, RunWriter
from skinfo.szt import SztSettings
from skinfo.szt.demo import run_demo

COMMANDS = ("demo", "info", "analyze", "compare", "convert", "plot", "report")
LABELS = np.arange(16) % 2
NOISY = (Layer("first", 0.5), Layer("second", 0.5, noise_before=True))
MIXED = (Layer("first", 0.5), Layer("second", 0.0, noise_before=True))
SILENT = (Layer("first", 0.0), Layer("second", None))
QUICK = ("--tol", "0.2")


def write_run(path, layers=NOISY, epochs=(1, 10, 100), broken=None, labels=LABELS):
    writer = RunWriter(path, layers, labels=labels, train=None if labels is None else range(10))
    rng = np.random.default_rng(0)
    for epoch in epochs:
        stored = {layer.name: rng.normal(size=(16, 4, 2)) for layer in layers}
        if layers is SILENT:
            # Without noise all replicas of an input are the same.
            stored = {name: np.repeat(S[:, :1], 4, axis=1) for name, S in stored.items()}
        if broken == "nan" and epoch == 10:
            stored["second"][3, 0, 0] = np.nan
        writer.add(epoch, stored, losses={"train_loss": 1 / (1 + epoch)})
    if broken == "truncated":
        file = path / "epoch_00000010.npz"
        file.write_bytes(file.read_bytes()[:700])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def tables(run, tmp_path_factory):
    """A directory with the table of the run in both formats."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("flow.parquet", "other.csv"):
        done = CliRunner().invoke(cli.app, ["analyze", str(run), "-o", str(folder / name), *QUICK])
        assert done.exit_code == 0, done.output
    return folder


def squeezed(text):
    """Text without white space: a terminal may break lines anywhere."""
    return "".join(text.split())


def says(err, *parts):
    return all(squeezed(str(part)) in squeezed(err) for part in parts)


def started(command, folder):
    """A process of its own, in a terminal of 80 columns, warnings shown as usual."""
    environment = {**os.environ, "COLUMNS": "80", "PYTHONWARNINGS": "default"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        cwd=folder, env=environment, timeout=300,
    )  # fmt: skip


#: Several commands in one fresh process, each under its label on both streams; modules can be
#: made absent between them.
RUNNER = """
import sys

class Absent:
    names = set()

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def without(*names):
    Absent.names = set(names)
    for name in list(sys.modules):
        if name.split(".")[0] in Absent.names or name.startswith("skinfo.cli"):
            del sys.modules[name]

sys.meta_path.insert(0, Absent())

def run(label, *arguments):
    for stream in (sys.stdout, sys.stderr):
        print(f"<<{label}>>", file=stream)
    sys.argv = ["skinfo", *arguments]
    try:
        from skinfo.cli import main
        main()
    except SystemExit as stopped:
        code = stopped.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
        print(f"exit code {code or 0}", flush=True)
"""


@pytest.fixture(scope="module")
def process(run, tables, tmp_path_factory):
    """What commands print in a process of its own, by label: exit code, output, errors."""
    folder = tmp_path_factory.mktemp("process")
    damaged = write_run(folder / "damaged", broken="truncated")
    table, missing = tables / "flow.parquet", folder / ("a-rather-long-name-of-a-directory" * 3)
    steps = [
        ["torch", "matplotlib", "pyarrow"],
        ("core", "analyze", run, "-o", folder / "core.csv", *QUICK),
        [],
        ("sigma", "analyze", run, "--sigma", "0"),
        ("exists", "analyze", run, "-o", table),
        ("nowhere", "info", missing),
        ("no table", "plot", f"{missing}.csv"),
        ("damaged", "analyze", damaged, "-o", folder / "damaged.csv", *QUICK),
        ["pyarrow"],
        ("write runs", "analyze", run, "-o", folder / "late.parquet", *QUICK),
        ("read runs", "plot", table, "-o", folder / "picture.png"),
        ["matplotlib"],
        ("draw plot", "plot", table, "-o", folder / "picture.png"),
        ("demo plot", "demo", "-o", folder / "demo"),
        ["torch"],
        ("demo torch", "demo", "-o", folder / "demo"),
        ["typer"],
        ("no cli", "--help"),
        ["rich"],
        ("neither cli", "--help"),
    ]
    script = RUNNER + "".join(
        f"{'without' if isinstance(step, list) else 'run'}(*{[str(s) for s in step]!r})\n"
        for step in steps
    )
    done = started([sys.executable, "-c", script], folder)
    assert "Traceback" not in done.stderr, done.stderr
    outputs, errors = (
        dict(re.findall(r"^<<([\w ]+)>>\n(.*?)(?=^<<|\Z)", text, re.DOTALL | re.MULTILINE))
        for text in (done.stdout, done.stderr)
    )
    found = {}
    for label, text in outputs.items():
        out, _, code = text.rpartition("exit code ")
        found[label] = (int(code), out, errors[label])
    return folder, found


# --- help, version, info -------------------------------------------------------------------------

OPTIONS = {
    "demo": ["--output", "--epochs", "--replicas", "--checkpoints", "--seed", "--jobs"],
    "info": ["--json"],
    "analyze": ["--output", "--sigma", "--bin-width", "--units", "--subset", "--memory", "--force"],
    "compare": ["--output", "--plot", "--reference", "--json", "--force"],
    "plot": ["--output", "--kind", "--quantity", "--estimator", "--force"],
    "report": ["--output", "--title", "--force"],
    "convert": ["--format", "--labels", "--sigma", "--layers", "--json", "--force"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_explains_every_option(command):
    done = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "100"})
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.output)
    assert done.exit_code == 0
    assert "Usage" in text
    for option in ["--help", *OPTIONS[command]]:
        explained = re.search(rf"{option}\b.*?>( \[\S+\])? {{2,}}\w+\W+\w+", text)
        assert explained, f"{option} of {command} has no help"


def test_help_lists_the_commands():
    done = CliRunner().invoke(cli.app, ["--help"])
    assert done.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b +[A-Z]", done.output)


def test_version_is_that_of_the_package(call):
    assert skinfo.__version__ == version("skinfo")
    assert call("--version") == (0, f"skinfo {skinfo.__version__}\n", "")


def test_info_shows_layers_sigmas_checkpoints_and_inputs(call, run):
    code, out, err = call("info", run)
    assert (code, err) == (0, "")
    assert "3 checkpoints, epochs 1 … 100" in out
    assert "16 inputs of 2 classes, 10 of them trained on" in out
    rows = [line.split() for line in out.splitlines() if "float64" in line]
    cells = [[word for word in row if word not in ("│", "|")] for row in rows]
    shape = ["16", "x", "4", "x", "2", "float64"]
    assert cells == [["first", "0.5", "no", *shape], ["second", "0.5", "yes", *shape]]


def test_info_of_a_run_without_labels_or_sigma(call, tmp_path):
    code, out, _ = call("info", write_run(tmp_path / "run", SILENT, labels=None))
    assert code == 0
    assert "No labels: --labels FILE of skinfo analyze and convert gives them" in out
    assert "unknown" in out
    assert "inputs of" not in out


def test_info_of_a_run_without_checkpoints(call, tmp_path):
    code, out, _ = call("info", write_run(tmp_path / "run", epochs=()))
    assert code == 0
    assert "0 checkpoints" in out


def test_names_in_brackets_are_printed_as_they_are(call, tmp_path):
    """rich would take [old] for a style."""
    layers = (Layer("block[a]", 0.5), Layer("[b]", 0.5, noise_before=True))
    path = write_run(tmp_path / "[old] run", layers)
    code, out, _ = call("info", path)
    assert code == 0
    assert says(out, path, "block[a]", "[b]")
    target = tmp_path / "[new].csv"
    code, out, _ = call("analyze", path, "-o", target, *QUICK)
    assert code == 0
    assert says(out, target)
    code, out, _ = call("plot", target, "--kind", "plane")
    assert code == 0
    assert says(out, tmp_path / "[new].plane.png")


# --- analyze -------------------------------------------------------------------------------------


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


def test_analyze_says_what_it_wrote(call, run, tmp_path):
    target = tmp_path / "flow.csv"
    code, out, err = call("analyze", run, "-o", target, *QUICK)
    assert code == 0
    assert says(out, f"{len(pd.read_csv(target))} rows in {target}")
    assert "18/18" in err
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


def test_analyze_of_sampled_inputs_has_no_ceiling(call, run, tmp_path):
    target = tmp_path / "flow.csv"
    assert call("analyze", run, "-o", target, "--population", *QUICK)[0] == 0
    table = read_table(target)[0]
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
    kept = {p: p.stat().st_mtime_ns for p in store.rglob("output.*")}
    assert len(kept) == 18
    first = target.read_bytes()
    assert call("analyze", run, *options)[0] == 0
    assert {p: p.stat().st_mtime_ns for p in store.rglob("output.*")} == kept
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


def test_analyze_of_a_deterministic_run_bins_and_clusters_and_says_so(call, tmp_path):
    run, target = write_run(tmp_path / "run", SILENT), tmp_path / "flow.csv"
    code, _, err = call("analyze", run, "-o", target)
    assert code == 0
    assert says(err, "no noise on record, so binned and clustered only", "--sigma")
    assert "labels" not in err
    assert set(read_table(target)[0]["estimator"]) == {"binned", "clustered"}


def test_analyze_of_a_run_without_labels_does_not_cluster(call, tmp_path):
    run, target = write_run(tmp_path / "run", labels=None), tmp_path / "flow.csv"
    code, _, err = call("analyze", run, "-o", target, *QUICK)
    assert code == 0
    assert says(err, run, "no labels, so not clustered", "--labels FILE")
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
    assert lines[0].endswith("so at 6 checkpoints of layer y")
    assert lines[1].endswith("so at 6 checkpoints of layers loss, epoch")
    assert err.count("--layers fc1,fc2 leaves them out") == 1
    assert says(err, "no noise on record, so binned only")


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
    assert set(table["estimator"]) == {"binned", "clustered"}
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


# --- nothing is overwritten ----------------------------------------------------------------------


@pytest.mark.parametrize("there", ["flow.csv", "flow.npz"])
def test_analyze_overwrites_nothing_without_force(call, run, tmp_path, there):
    (tmp_path / there).write_text("mine")
    code, out, err = call("analyze", run, "-o", tmp_path / "flow.csv", *QUICK)
    assert (code, out) == (2, "")
    assert says(err, tmp_path / there, "exists", "--force")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(there, "mine")]
    assert call("analyze", run, "-o", tmp_path / "flow.csv", "--force", *QUICK)[0] == 0
    assert len(read_table(tmp_path / "flow.csv")[0]) == 174


def test_plot_overwrites_nothing_without_force(call, tables, tmp_path):
    target = tmp_path / "mine.png"
    target.write_text("mine")
    code, _, err = call("plot", tables / "flow.parquet", "--kind", "plane", "-o", target)
    assert code == 2
    assert says(err, target, "exists", "--force")
    assert target.read_text() == "mine"
    command = ("plot", tables / "flow.parquet", "--kind", "plane", "-o", target, "--force")
    assert call(*command)[0] == 0
    assert target.read_bytes().startswith(b"\x89PNG")


# --- a user's mistake ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["info", "{tmp}/nowhere"], ["nowhere", "no run here", "run.json"]),
        (["analyze", "{tmp}/nowhere"], ["nowhere", "no run here", "run.json"]),
        (["analyze", "{tmp}"], ["no run here"]),
        (["analyze", "{run}", "--sigma", "0"], ["positive", "BinningMIEstimator", "told apart"]),
        (["analyze", "{run}", "--sigma", "-1"], ["positive", "ClusteringScore"]),
        (["analyze", "{run}", "--sigma", "nan"], ["positive"]),
        (["analyze", "{run}", "--tol", "0"], ["tol"]),
        (["analyze", "{run}", "--bin-width", "-1"], ["bin_width"]),
        (["analyze", "{run}", "--units", "bytes"], ["units", "bits"]),
        (["analyze", "{run}", "--subset", "validation"], ["'train'", "'test'", "validation"]),
        (["analyze", "{run}", "--sigma", "much"], ["--sigma", "number"]),
        (["analyze", "{run}", "-o", "{tmp}/flow.txt"], ["flow.txt", ".parquet or .csv"]),
        (["analyze", "{run}", "-o", "{tmp}/no/flow.csv"], ["there is no directory"]),
        (["analyze"], ["Missing argument"]),
        (["analyse", "{run}"], ["No such command"]),
        (["plot", "{tmp}/flow.csv"], ["flow.csv", "no such table"]),
        (["plot", "{tmp}/flow.xls"], ["flow.xls", ".parquet or .csv"]),
        (
            ["plot", "{table}", "--kind", "pie"],
            ["overview, plane, distances, ridges or curve", "'pie'"],
        ),
        (["plot", "{table}", "--quantity", "silhouette"], ["--quantity", "--kind curve"]),
        (["plot", "{table}", "--kind", "ridges", "--estimator", "noisy"], ["--estimator"]),
        (["plot", "{table}", "--estimator", "nobody"], ["'nobody'", "noisy, binned, clustered"]),
        (["plot", "{table}", "-o", "{tmp}/picture.doc"], ["picture.doc", ".png"]),
        (["plot", "{table}", "-o", "{tmp}/no/picture.png"], ["there is no directory"]),
        (["demo", "-o", "{tmp}/d", "--epochs", "0"], ["--epochs"]),
        (["demo", "-o", "{tmp}/d", "--replicas", "1"], ["--replicas"]),
        (["demo", "-o", "{run}"], ["not empty", "no demo", "choose another", "--output"]),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else None,
)
def test_a_mistake_ends_with_exit_code_2_and_says_what_is_wrong(
    call, run, tables, tmp_path, monkeypatch, arguments, parts
):
    monkeypatch.chdir(tmp_path)
    before = {p.name for p in [*run.iterdir(), *tables.iterdir()]}
    places = {"run": run, "tmp": tmp_path, "table": tables / "flow.parquet"}
    code, out, err = call(*(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert says(err, *parts)
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert {p.name for p in [*run.iterdir(), *tables.iterdir()]} == before


def test_analyze_of_a_run_without_checkpoints_is_refused(call, tmp_path):
    run = write_run(tmp_path / "run", epochs=())
    code, _, err = call("analyze", run, "-o", tmp_path / "flow.csv")
    assert code == 2
    assert says(err, run, "no checkpoints")


@pytest.mark.parametrize(
    ("name", "content"),
    [("run.json", b"{"), ("run.json", b"{}"), ("labels.npy", b"nonsense"), ("run.json", b"\xff")],
)
def test_a_damaged_run_is_named(call, tmp_path, name, content):
    run = write_run(tmp_path / "run")
    (run / name).write_bytes(content)
    for command in ("info", "analyze"):
        code, _, err = call(command, run)
        assert code == 2
        assert says(err, run / name)


@pytest.mark.parametrize(
    ("label", "part"),
    [
        ("sigma", "skinfo: sigma must be a positive standard deviation; got 0"),
        ("exists", "flow.parquet exists; choose another name or add --force"),
        ("nowhere", "a-rather-long-name-of-a-directory: there is no run here"),
        ("no table", "a-rather-long-name-of-a-directory.csv: there is no such table"),
    ],
)
def test_an_error_is_one_line_however_long(process, label, part):
    """A terminal wraps long lines itself; broken ones cannot be searched or copied."""
    code, out, err = process[1][label]
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("skinfo: ")
    assert part in err


# --- nothing is lost -----------------------------------------------------------------------------


def assert_the_rest_is_there(target, lost_layers):
    table, snapshots = read_table(target)
    lost = table[table["notes"] == "read error"]
    places = lost[["epoch", "layer"]].drop_duplicates().to_numpy().tolist()
    assert places == [[10, name] for name in lost_layers]
    assert len(lost) == 3 * len(lost_layers)
    assert table["value"].notna().sum() == 174 - 29 * len(lost_layers)
    assert snapshots.value_counts[1].sum(axis=1).tolist() == [32, 0, 32]


def test_analyze_finishes_the_rest_of_a_truncated_run(process):
    folder, found = process
    code, out, err = found["damaged"]
    assert code == 1
    assert says(out, "rows in", folder / "damaged.csv")
    assert says(err, folder / "damaged" / "epoch_00000010.npz", "could not be read")
    assert_the_rest_is_there(folder / "damaged.csv", ["first", "second"])


def test_analyze_finishes_the_rest_of_a_run_with_nan(tmp_path):
    """In a process of its own: a kernel that meets NaN may take the interpreter with it."""
    run, target = write_run(tmp_path / "run", broken="nan"), tmp_path / "flow.csv"
    script = Path(sys.executable).parent / "skinfo"
    done = started([script, "analyze", run, "-o", target, *QUICK], tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert says(done.stderr, "epoch 10, layer 'second'", "could not be read")
    assert_the_rest_is_there(target, ["second"])


def test_info_of_a_damaged_checkpoint_names_the_file(call, tmp_path):
    run = write_run(tmp_path / "run", epochs=(1, 10), broken="truncated")
    code, _, err = call("info", run)
    assert code == 1
    assert says(err, run / "epoch_00000010.npz", "damaged or cut short")


# --- plot ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("overview", "flow.png"),
        ("plane", "flow.plane.png"),
        ("distances", "flow.distances.png"),
        ("ridges", "flow.ridges.png"),
        ("curve", "flow.auc.png"),
    ],
)
def test_plot_draws_every_kind_beside_the_table(call, tables, kind, name):
    target = tables / name
    code, out, err = call("plot", tables / "flow.parquet", "--kind", kind)
    assert (code, err) == (0, "")
    assert says(out, target)
    assert target.read_bytes().startswith(b"\x89PNG")
    pixels = plt.imread(target)
    assert min(pixels.shape[:2]) > 300
    assert pixels[..., :3].std() > 0.02
    target.unlink()


def test_plot_draws_a_csv_into_the_file_given(call, tables, tmp_path):
    target = tmp_path / "picture.pdf"
    assert call("plot", tables / "other.csv", "--kind", "plane", "-o", target)[0] == 0
    assert target.read_bytes().startswith(b"%PDF")


def test_plot_of_a_table_without_its_arrays(call, tables, tmp_path):
    (tmp_path / "flow.csv").write_bytes((tables / "other.csv").read_bytes())
    code, _, err = call("plot", tmp_path / "flow.csv", "--kind", "distances")
    assert code == 2
    assert says(err, tmp_path / "flow.npz", "not found")
    assert call("plot", tmp_path / "flow.csv", "--kind", "ridges")[0] == 2
    code, _, err = call("plot", tmp_path / "flow.csv", "--kind", "curve", "--quantity", "nc9")
    assert code == 2
    assert says(err, "no 'nc9'", "auc, between_mean, nc1, silhouette")
    assert call("plot", tmp_path / "flow.csv")[0] == 0
    assert {p.name for p in tmp_path.iterdir()} == {"flow.csv", "flow.png"}


def test_plot_says_which_of_two_estimators_it_draws(call, run, tmp_path):
    path, target = tmp_path / "flow.csv", tmp_path / "picture.png"
    estimators = {f"wide{w}": skinfo.BinningMIEstimator(bin_width=w) for w in (0.1, 1.0)}
    write_table(path, information_flow(estimators, open_run(run), progress=False))
    for kind in ("overview", "plane", "curve"):
        command = ("plot", path, "--kind", kind, "-o", target, "--force")
        command += ("--quantity", "mutual_info") if kind == "curve" else ()
        code, _, err = call(*command)
        assert code == 0
        assert says(err, "wide0.1 is drawn, wide1.0 left out", "--estimator")
        first = target.read_bytes()
        assert call(*command, "--estimator", "wide1.0")[::2] == (0, "")
        assert target.read_bytes() != first


def test_plot_of_a_broken_npz_names_it(call, tables, tmp_path):
    (tmp_path / "flow.csv").write_bytes((tables / "other.csv").read_bytes())
    for content in (b"nonsense", b""):
        (tmp_path / "flow.npz").write_bytes(content)
        code, _, err = call("plot", tmp_path / "flow.csv")
        assert code == 2
        assert says(err, tmp_path / "flow.npz", "cannot be read")


def test_plot_of_what_is_no_flow_table_names_it(call, tmp_path):
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "flow.csv", index=False)
    code, _, err = call("plot", tmp_path / "flow.csv")
    assert code == 2
    assert says(err, tmp_path / "flow.csv", "no flow table")


def test_plot_draws_a_curve_against_sigma(call, tmp_path):
    path = tmp_path / "curve.csv"
    write_table(path, skinfo.sigma_curve([[-1.0], [1.0]], sigmas=[0.25, 0.5, 1.0]))
    assert call("plot", path)[0] == 0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = call("plot", path, "--kind", "plane")
    assert code == 2
    assert says(err, path, "a curve against sigma", "--kind plane")
    code, _, err = call("plot", path, "--estimator", "noisy", "--force")
    assert code == 2
    assert says(err, path, "--estimator has no effect")


# --- without the extras --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label", ["write runs", "read runs", "draw plot", "demo plot", "demo torch"]
)
def test_without_an_extra_one_line_names_it_before_any_work(process, label):
    code, out, err = process[1][label]
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert f"pip install 'skinfo[{label.split()[1]}]'" in err


@pytest.mark.parametrize("label", ["no cli", "neither cli"])
def test_without_typer_or_rich_one_line_names_the_extra(process, label):
    code, out, err = process[1][label]
    assert code != 0
    assert out == ""
    assert err == "skinfo: the command line needs an extra: pip install 'skinfo[cli]'\n"


def test_analyze_to_csv_needs_no_extra_but_its_own(process):
    folder, found = process
    assert found["core"][0] == 0
    assert len(read_table(folder / "core.csv")[0]) == 174
    assert not {"demo", "late.parquet", "late.npz"} & {p.name for p in folder.iterdir()}


# --- the demo ------------------------------------------------------------------------------------


class Killed(BaseException):
    """The power went off."""


def test_a_demo_that_was_killed_goes_on_prints_its_table_and_writes_its_files(
    call, tmp_path, monkeypatch
):
    place = tmp_path / "demo"

    def dies(part, done, total):
        if (part, done) == ("Estimating", 10):
            raise Killed

    with pytest.raises(Killed):
        run_demo(place, SztSettings(3, 2, 2, 0), n_jobs=1, progress=dies)
    recorded = {p: p.stat().st_mtime_ns for p in (place / "run").glob("*.npz")}
    assert [p.name for p in sorted(recorded)] == ["epoch_00000001.npz", "epoch_00000003.npz"]
    estimated = {p: p.stat().st_mtime_ns for p in (place / "estimates").rglob("output.*")}
    assert len(estimated) == 12, "a layer at a time"

    monkeypatch.setattr(cli.application.console, "width", 80)
    tiny = ("-o", place, "--epochs", 3, "--replicas", 2, "--checkpoints", 2)
    code, out, err = call("demo", *tiny, "--timings")
    assert code == 0
    assert {p: p.stat().st_mtime_ns for p in recorded} == recorded
    assert {p: p.stat().st_mtime_ns for p in estimated} == estimated
    assert "30/30" in err

    table, snapshots = read_table(place / "flow.parquet")
    assert sorted(table["epoch"].unique()) == [1, 3]
    layers = [f"layer{k}" for k in range(1, 6)]
    assert list(table["layer"].unique()) == layers
    assert snapshots.layers == layers
    assert list(snapshots.losses) == ["test_accuracy", "test_loss", "train_accuracy", "train_loss"]
    assert "After 3 epochs, in nats" in out
    for layer in layers:
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [layer]]
        rows = table[(table["layer"] == layer) & (table["epoch"] == 3)]
        values = rows.set_index(["estimator", "quantity"])["value"]
        for key in (("noisy", "mutual_info"), ("noisy", "label_mutual_info"),
                    ("binned", "binned_entropy"), ("clustered", "auc")):  # fmt: skip
            assert f"{values[key]:.3f}" in line.split()
    for name in ("flow.parquet", "overview.png", "plane.png"):
        assert (place / name).is_file()
        assert says(out, place / name)
    assert "together" in out

    before = (place / "flow.parquet").read_bytes()
    code, _, err = call("demo", *tiny[:-1], 3)
    assert code == 2
    assert says(err, place, "other settings", "choose another", "--output")
    assert (place / "flow.parquet").read_bytes() == before


@pytest.mark.parametrize("last", [1, 2, 3, 100, 2000, 10000])
@pytest.mark.parametrize("n", [1, 2, 3, 25, 84])
def test_checkpoints_of_the_demo_end_with_the_last_epoch(last, n):
    """What the demo prints is titled by that epoch."""
    epochs = log_spaced_epochs(last, n)
    assert epochs[-1] == last
    assert epochs[0] >= 1
    assert epochs == sorted(set(epochs))
    assert len(epochs) <= max(n + n // 4, n)
    assert len(epochs) >= min(n, last)
