"""The commands as a user types them: help, info, mistakes, missing extras, the demo."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import skinfo
from skinfo import cli, save_run
from skinfo.flow.tables import read_table
from skinfo.monitoring import log_spaced_epochs
from skinfo.runs import Layer
from skinfo.szt import SztSettings
from skinfo.szt.demo import run_demo

from .written import (
    QUICK,
    SILENT,
    assert_the_rest_is_there,
    says,
    started,
    write_run,
)
from small_runs import small_demo

COMMANDS = ("demo", "info", "analyze", "compare", "convert", "plot", "report")

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


# --- help, version, info --------------------------------------------------------------------------

OPTIONS = {
    "demo": [
        "--output", "--real", "--epochs", "--replicas", "--checkpoints", "--random-state",
        "--noise", "--sigma", "--jobs",
    ],
    "info": ["--json"],
    "analyze": [
        "--output", "--sigma", "--noise", "--bin-width", "--units", "--subset", "--noise-draws",
        "--random-state", "--memory", "--force",
    ],
    "compare": [
        "--output", "--plot", "--reference", "--show", "--layer", "--epoch", "--z", "--json",
        "--force",
    ],
    "plot": ["--output", "--kind", "--quantity", "--estimator", "--force"],
    "report": ["--output", "--title", "--force"],
    "convert": ["--format", "--labels", "--sigma", "--noise", "--layers", "--json", "--force"],
}  # fmt: skip


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
    noise = ["σ", "=", "0.5"]
    assert cells == [["first", *noise, "no", *shape], ["second", *noise, "yes", *shape]]


def test_info_shows_padding_sets_of_labels_and_how_a_run_was_recorded(call, tmp_path):
    tokens, mask = np.arange(24.0).reshape(4, 3, 2), np.tri(4, 3) > 0
    settings = {"model": "Net", "recording": {"n_replicas": 24, "flatten": None, "random_state": 0}}
    labels = {"topic": list("abab"), "word": np.where(mask, [5, 6, 5], 9)}
    save_run(tmp_path / "r", 0, {"a": tokens}, labels=labels, mask=mask, settings=settings)
    code, out, err = call("info", tmp_path / "r")
    assert (code, err) == (0, "")
    assert "4 inputs of 2 classes (topic), 2 classes of tokens (word)" in out
    assert "Up to 3 tokens per input, 25.0% of all are padding" in out
    assert "Recorded from Net: n_replicas 24, random_state 0\n" in out
    assert "\n1 checkpoint, epoch 0\n" in out
    assert "r --flatten tokens --sigmas" in out
    code, _, err = call("analyze", tmp_path / "r", "-o", tmp_path / "flow.csv")
    assert code == 2
    assert "has 3 tokens per input" in err
    assert "--flatten of `skinfo analyze`" in err
    tokens[0, 2] = tokens[1, 1] = np.nan
    save_run(tmp_path / "r", 0, {"a": tokens})
    code, _, err = call("info", tmp_path / "r")
    assert code == 1
    assert "NaN or infinity" in err


def test_every_command_knows_every_noise(call, tmp_path, monkeypatch):
    """Written by convert, shown by info, measured by analyze, compared and reported."""
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "dump").mkdir()
    rng = np.random.default_rng(0)
    S = rng.uniform(0.5, 2.0, size=(12, 2)) * (rng.uniform(size=(12, 2)) < 0.8)
    np.savez(tmp_path / "dump" / "epoch_1.npz", a=S)
    kinds = [
        ("additive", "0.5,0.25", (0.5, 0.25), "σ = 0.25 to 0.5, each unit its own"),
        ("multiplicative", "0.5", 0.5, "Gaussian dropout, σ = 0.5 (rate 0.2)"),
        ("lognormal", "0.5", 0.5, "log-normal noise, σ = 0.5"),
        ("affine", "0.2,0.3", (0.2, 0.3), "affine noise, a = 0.2, b = 0.3"),
    ]
    for noise, text, sigma, words in kinds:
        run = tmp_path / noise
        given = ("--sigma", text, "--noise", noise)
        assert call("convert", tmp_path / "dump", run, *given)[0] == 0
        assert skinfo.open_run(run).layers == (Layer("a", sigma, noise=noise),)
        code, out, err = call("info", run)
        assert (code, err) == (0, "")
        assert words in out
        described = json.loads(call("info", run, "--json")[1])["layers"][0]
        assert described["noise"] == noise
        assert described["sigma"] == (list(sigma) if isinstance(sigma, tuple) else sigma)
        if noise == "additive":
            continue
        tables = []
        for own, options in {"own": (), "given": given}.items():
            target = tmp_path / f"{noise}-{own}.csv"
            code, _, err = call("analyze", run, "-o", target, *options)
            assert code == 0, err
            tables.append(read_table(target)[0])
        numbers = [table.query("estimator == 'noisy'")["value"].to_numpy() for table in tables]
        np.testing.assert_array_equal(*numbers)
        assert not tables[1]["notes"].str.contains("differs from run").any()
    own = [tmp_path / f"{noise}-own.csv" for noise in ("multiplicative", "lognormal")]
    code, out, err = call("compare", *own)
    assert code == 0
    assert "settings differ: noise multiplicative and lognormal" in out + err
    assert call("report", own[0], "-o", tmp_path / "report.html")[0] == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Gaussian dropout, σ = 0.5 (rate 0.2)" in page
    assert re.search(r"[\d.]+ of it by zeros and signs alone", page)
    other = ("--sigma", "0.5", "--noise", "lognormal")
    assert call("analyze", tmp_path / "multiplicative", "-o", tmp_path / "x.csv", *other)[0] == 0
    notes = read_table(tmp_path / "x.csv")[0].query("estimator == 'noisy'")["notes"]
    assert notes.str.contains("noise differs from run").all()


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


def test_help_says_what_exit_codes_mean(call):
    code, out, _ = call("--help")
    assert code == 0
    assert says(out, "Exit codes", "0 all done", "130 interrupted")


def test_shells_can_complete():
    """What --install-completion lets a shell ask for."""
    command = [Path(sys.executable).with_name("skinfo")]
    environment = {**os.environ, "_SKINFO_COMPLETE": "source_bash"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "_SKINFO_COMPLETE=complete_bash" in done.stdout


def test_info_of_a_damaged_checkpoint_names_the_file(call, tmp_path):
    run = write_run(tmp_path / "run", epochs=(1, 10), broken="truncated")
    code, _, err = call("info", run)
    assert code == 1
    assert says(err, run / "epoch_00000010.npz", "damaged or cut short")


# --- a user's mistake -----------------------------------------------------------------------------


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
        (["analyze", "{run}", "--sigma", "0.1,"], ["--sigma", "number", "'0.1,'"]),
        (["analyze", "{run}", "--sigma", "0.1,0"], ["positive", "unit 1 has 0"]),
        (["analyze", "{run}", "--noise", "lognormal"], ["--noise goes with --sigma"]),
        (["analyze", "{run}", "--sigma", "1", "--noise", "affine"], ["affine", "sigma=(a, b)"]),
        (["analyze", "{run}", "--sigma", "1", "--noise", "gamma"], ["noise is one of", "'gamma'"]),
        (["convert", "{run}", "x", "--noise", "gamma"], ["noise is one of", "'gamma'"]),
        (["convert", "{run}", "x", "--noise", "lognormal"], ["its noise of layer 'first' differ"]),
        (["analyze", "{run}", "-o", "{tmp}/flow.txt"], ["flow.txt", ".parquet or .csv"]),
        (["analyze", "{run}", "-o", "{tmp}/no/flow.csv"], ["there is no directory"]),
        (["analyze"], ["Missing argument"]),
        (["analyse", "{run}"], ["No such command"]),
        (["plot", "{tmp}/flow.csv"], ["flow.csv", "no such table"]),
        (["plot", "{tmp}/flow.xls"], ["flow.xls", ".parquet or .csv"]),
        (
            ["plot", "{table}", "--kind", "pie"],
            ["overview, depth, plane, distances, ridges, inputs, confusion or curve", "'pie'"],
        ),
        (["plot", "{table}", "--quantity", "silhouette"], ["--quantity", "--kind curve"]),
        (["plot", "{table}", "--kind", "ridges", "--estimator", "noisy"], ["--estimator"]),
        (["plot", "{table}", "--estimator", "nobody"], ["'nobody'", "noisy, binned, clustered"]),
        (["plot", "{table}", "-o", "{tmp}/picture.doc"], ["picture.doc", ".png"]),
        (["plot", "{table}", "-o", "{tmp}/no/picture.png"], ["there is no directory"]),
        (["demo", "-o", "{tmp}/d", "--epochs", "0"], ["--epochs"]),
        (["demo", "-o", "{tmp}/d", "--replicas", "1"], ["--replicas"]),
        (
            ["demo", "-o", "{tmp}/d", "--noise", "binary"],
            ["noise is one of 'additive'", "'binary'"],
        ),
        (["demo", "-o", "{tmp}/d", "--noise", "affine"], ['noise="affine" takes sigma=(a, b)']),
        (["demo", "-o", "{tmp}/d", "--sigma", "-1"], ["sigma must be a positive"]),
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


def test_analyze_finishes_the_rest_of_a_truncated_run(process):
    folder, found = process
    code, out, err = found["damaged"]
    assert code == 1
    assert says(out, "rows in", folder / "damaged.csv")
    assert says(err, folder / "damaged" / "epoch_00000010.npz", "could not be read")
    assert_the_rest_is_there(folder / "damaged.csv", ["first", "second"])


# --- without the extras ---------------------------------------------------------------------------


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
    assert len(read_table(folder / "core.csv")[0]) == 192
    assert not {"demo", "late.parquet", "late.npz"} & {p.name for p in folder.iterdir()}


# --- the demo -------------------------------------------------------------------------------------


class Killed(BaseException):
    """The power went off."""


@pytest.fixture
def _small():
    with small_demo():
        yield


@pytest.mark.usefixtures("_small")
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
    estimated = {p: p.stat().st_mtime_ns for p in (place / "estimates").glob("*.json")}
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
    assert "After 3 epochs, in nats; σ = 0.005" in out
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


def test_padding_and_sets_of_labels_are_shown_and_chosen(call, tmp_path):
    rng = np.random.default_rng(0)
    mask = np.arange(4) < np.array([1, 2, 3, 4, 2, 3])[:, None]
    tokens = np.where(mask[:, :, None], rng.standard_normal((6, 4, 2)), np.nan)
    sets = {"topic": np.arange(6) % 2, "word": rng.integers(0, 3, (6, 4))}
    run, other = tmp_path / "run", tmp_path / "other"
    # Behind noise the second axis of an array may be replicas in a run that has tokens as well.
    arrays = {"a": tokens, "pooled": rng.standard_normal((6, 2, 2))}
    skinfo.save_run(run, 1, arrays, labels=sets, mask=mask, sigma={"a": 0.5})
    assert call("convert", run, other, "--format", "npy")[0] == 0
    code, out, err = call("info", other)
    assert (code, err) == (0, "")
    assert "6 inputs of 2 classes (topic), 3 classes of tokens (word)" in out
    assert "Up to 4 tokens per input, 37.5% of all are padding" in out
    skinfo.save_run(tmp_path / "tokens", 1, {"a": tokens}, labels=sets, mask=mask)
    options = ("-o", tmp_path / "flow.csv", "--flatten", "tokens", "--labels")
    code, _, err = call("analyze", tmp_path / "tokens", *options, "word")
    assert code == 0, err
    table = read_table(tmp_path / "flow.csv")[0]
    assert set(table["estimator"]) >= {"binned", "binned (word)", "clustered (word)"}
    assert not table["estimator"].str.contains("topic").any()
    code, _, err = call("analyze", tmp_path / "tokens", *options, "words", "--force")
    assert code == 2
    assert "has no set of labels 'words'; it has 'topic', 'word'" in err
