"""What a script needs of the command line: a settings file, JSON, exit codes, completion."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_cli import QUICK, says, write_run

from skinfo.flow.tables import read_table
from skinfo.runs import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", epochs=(1, 10))


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
        ("[estimators.a]\nkind = 'kde'", ["[estimators.a]", "'kde'", "noisy, binned, clustered"]),
        (
            "[estimators.a]\nkind = ['noisy']",
            ["[estimators.a]", "['noisy']", "noisy, binned, clu"],
        ),
        ("[estimators.a]\nkind = {}", ["[estimators.a]", "kind {}", "noisy, binned, clustered"]),
        ("[estimators.a]\ntol = 0.1", ["no kind", 'add kind = "noisy" | "binned" | "clustered"']),
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
    command = [sys.executable, "-m", "skinfo.cli", "analyze", str(run), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("kept/**/output.*")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert list(tmp_path.glob("kept/**/output.*"))
    assert not (tmp_path / "flow.csv").exists()
    assert open_run(run).epochs[-1] == 59
