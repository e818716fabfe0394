"""What is typed or written wrongly, interrupted, or cannot be shown ends in one line and a code."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from skinfo import cli
from skinfo.runs import Layer

from .written import QUICK, says, write_run

ENTRY = "from skinfo.cli import run; run()"


def entered(*arguments, before="", **options):
    """The console script in a process of its own."""
    command = [sys.executable, "-c", before + ENTRY, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **(pipes | options))


# --- a settings file -----------------------------------------------------------------------------

BINNED = "[estimators.a]\nkind = 'binned'\n"
NOISY = "[estimators.a]\nkind = 'noisy'\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('sigma = "0.1"', ["--sigma", "valid number", "'0.1'"]),
        ("sigma = true", ["--sigma", "valid number"]),
        ("sigma = [true]", ["--sigma", "valid number or a list of numbers"]),
        ("sigma = 1979-05-27", ["--sigma", "valid number"]),
        ("jobs = true", ["--jobs", "whole number"]),
        ("jobs = 2.0", ["--jobs", "whole number"]),
        ("noise-draws = 2.5", ["--noise-draws", "whole number"]),
        ("noise-draws = 2\nnoise_draws = 3", ["noise_draws is there twice"]),
        ('force = "yes"', ["--force", "true or false"]),
        ("json = 1", ["--json", "true or false"]),
        ("population = 1", ["--population", "true or false"]),
        ("units = ['nats']", ["--units", "a text"]),
        ("labels = 3", ["--labels", "a text"]),
        ("layers = [1, 2]", ["--layers", "a text or a list of texts"]),
        ("layers = ['a,b']", ["--layers", "comma"]),
        ("memory_limit = 1.5", ["--memory_limit", "a text or a whole number"]),
        (BINNED + "n_bins = 1e12", ["[estimators.a]: n_bins", "whole number"]),
        (BINNED + "bin_edges = {a = 1}", ["bin_edges", "a list of numbers"]),
        (BINNED + "bin_edges = [1, 'a']", ["bin_edges", "a list of numbers"]),
        (BINNED + "bin_range = [[0, 1]]", ["bin_range", "a text or a list of numbers"]),
        (BINNED + "bin_width = '1'", ["bin_width", "valid number"]),
        (NOISY + "random_state = 'x'", ["random_state", "whole number"]),
        (NOISY + "pairwise_bounds = 1", ["pairwise_bounds", "true or false"]),
        (NOISY + "n_jobs = 1.0", ["n_jobs", "whole number"]),
        ("[estimators.a]\nkind = 'clustered'\nmeasures = [['x']]", ["measures", "list of texts"]),
        ("[[estimators]]\nkind = 'noisy'", ["estimators are tables"]),
        ("a = " + "[" * 10**5, ["cannot be read as settings", "recursion"]),
    ],
)
def test_every_value_of_a_settings_file_is_of_its_type(call, run, tmp_path, text, parts):
    (tmp_path / "own.toml").write_text(text)
    code, out, err = call(
        "analyze", run, "--config", tmp_path / "own.toml", "-o", tmp_path / "x.csv"
    )
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert says(err, "own.toml", *parts)
    assert [p.name for p in tmp_path.iterdir()] == ["own.toml"]


def test_a_settings_file_reaches_every_option_of_an_estimator(call, run, tmp_path):
    (tmp_path / "own.toml").write_text(
        """
        population = true
        memory_limit = 4000000000
        tol = 1
        """
    )
    code, _, _ = call("analyze", run, "--config", tmp_path / "own.toml", "-o", tmp_path / "x.csv")
    assert code == 0
    (tmp_path / "all.toml").write_text(
        """
        [estimators.n]
        kind = "noisy"
        sigma = [0.2, 0.3]
        noise = "affine"
        tol = 1
        population = true
        max_evaluations = 4096
        pairwise_bounds = false
        units = "bits"
        n_jobs = 100000
        random_state = 3
        [estimators.e]
        kind = "binned"
        bin_edges = [[-1, 0, 1], [-1.5, 0.0]]
        [estimators.b]
        kind = "binned"
        bin_range = [-3, 3]
        n_bins = 4
        correction = "miller-madow"
        units = "bits"
        [estimators.q]
        kind = "binned"
        strategy = "quantile"
        [estimators.c]
        kind = "clustered"
        metric = "cosine"
        measures = ["nc1", "binned_entropy"]
        bin_width = 0.5
        max_pairs = 1000
        random_state = 1
        n_jobs = 2
        """
    )
    code, _, err = call(
        "analyze", run, "--config", tmp_path / "all.toml", "-o", tmp_path / "x.csv", "--force"
    )
    assert code == 0, err


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a directory", "nothing"])
@pytest.mark.parametrize("option", ["--config", "--labels"])
def test_only_files_are_read(call, run, tmp_path, kind, option):
    place = {"a device": "/dev/zero", "a directory": tmp_path}.get(kind, tmp_path / "place")
    if kind == "a pipe":
        os.mkfifo(place)
    code, _, err = call("analyze", run, option, place, "-o", tmp_path / "x.csv")
    assert code == 2
    assert says(err, place)
    assert len(err.splitlines()) == 1


def test_labels_that_no_memory_holds_are_a_mistake(call, run, tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    (tmp_path / "y.npy").write_bytes(
        b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b"\n" + bytes(80)
    )
    code, _, err = call("analyze", run, "--labels", tmp_path / "y.npy", "-o", tmp_path / "x.csv")
    assert code == 2
    assert says(err, tmp_path / "y.npy")


# --- where the result goes -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["directory.csv", "n" * 248 + ".csv", "n" * 300 + ".csv"])
def test_an_output_that_cannot_be_written_is_known_before_anything_is_measured(
    call, run, tmp_path, monkeypatch, name
):
    (tmp_path / "directory.csv").mkdir()
    monkeypatch.setattr("skinfo.flow.sweep._measure_all", None)
    code, _, err = call("analyze", run, "-o", tmp_path / name, "--force")
    assert code in (1, 2)
    assert says(err, name)
    assert [p.name for p in tmp_path.iterdir()] == ["directory.csv"]


def test_a_directory_that_may_not_be_written_is_known_before_anything_is_measured(call, run):
    code, _, err = call("analyze", run, "-o", "/proc/flow.csv")
    assert code == 2
    assert says(err, "/proc/flow.csv", "cannot be written")


@pytest.mark.parametrize("jobs", [100_000, 10**20, -1, -100])
def test_any_number_of_jobs_is_taken(call, run, tmp_path, jobs):
    assert call("analyze", run, "-o", tmp_path / "x.csv", "--jobs", jobs, *QUICK)[0] == 0


# --- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_are_shown_where_the_stream_cannot_hold_them(tmp_path, encoding):
    layers = (Layer("größe", 0.5), Layer("層", 0.5, noise_before=True))
    path = write_run(tmp_path / "run", layers, epochs=(1, 10))
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "80"}
    with entered("info", path, env=environment) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    # Where ASCII is all that a stream claims to hold, typer writes UTF-8.
    shown = out.decode("utf-8" if encoding == "ascii" else encoding)
    assert "\\u5c64" in shown
    assert ("größe" if encoding == "latin-1" else "gr\\xf6\\xdfe") in shown


def test_who_reads_no_further_ends_a_command_in_silence(run):
    reading, writing = os.pipe()
    os.close(reading)
    with entered("info", run, "--json", stdout=writing) as process:
        os.close(writing)
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (1, b"")


# --- interrupts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.5, 3.0])
def test_an_interrupt_ends_with_130_at_every_moment(run, tmp_path, after):
    command = ("analyze", run, "-o", tmp_path / "x.csv", "--noise-draws", 10**6)
    process = entered(*command, before="print(flush=True);")
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert b"terminate" not in err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ImportError("numpy failed to import")])
def test_an_interrupt_is_one_whatever_a_library_makes_of_it(call, monkeypatch, error):
    def interrupted(*_, **__):
        if isinstance(error, ImportError):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        raise error

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli.application, "app", interrupted)
    code, _, err = call("info")
    assert code == 130
    assert says(err, "interrupted")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_command_can_run_in_another_thread(call, run):
    found = []
    thread = threading.Thread(target=lambda: found.append(call("info", run)))
    thread.start()
    thread.join()
    assert found[0][0] == 0


def test_memory_that_is_missing_is_said(call, monkeypatch):
    def full(*_, **__):
        np.empty(2**59)

    monkeypatch.setattr(cli.application, "app", full)
    code, _, err = call("info")
    assert code == 1
    assert says(err, "not enough memory", "Unable to allocate")
