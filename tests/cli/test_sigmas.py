"""skinfo analyze --sigmas: the table, what is said of it, and the line that is proposed."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

from skinfo import sigma_curves
from skinfo.cli.sigmas import parse_sigmas
from skinfo.flow.tables import read_table

from .written import QUICK, SILENT, says, write_run


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("silent") / "a run", SILENT)


def test_the_table_is_that_of_python_and_what_holds_is_said(call, silent, tmp_path):
    target = tmp_path / "curves.parquet"
    options = ("--sigmas", ".1:10:3", "--unit", "rms", "--max-inputs", 12, *QUICK)
    code, out, err = call("analyze", silent, "-o", target, *options)
    assert (code, err) == (0, "")
    expected = sigma_curves(
        silent, sigmas=[0.1, 1.0, 10.0], unit="rms", max_inputs=12, tol=0.2, progress=False
    )
    pd.testing.assert_frame_equal(read_table(target)[0], expected, check_exact=True)
    assert says(out, "Epoch 100: I(X;T)", "Measured on 12 of 16 inputs", f"90 rows in {target}")
    code, out, _ = call("analyze", silent, "-o", target, *options, "--json", "--force")
    assert code == 0
    assert json.loads(out)["orders"][-1] == "Measured on 12 of 16 inputs, the same everywhere"


@pytest.mark.parametrize("command", ["info", "analyze"])
def test_a_run_without_noise_is_proposed_a_line_that_works(call, tmp_path, command):
    silent = write_run(tmp_path / "a run", SILENT, labels=None, epochs=(1,))
    labels = tmp_path / "other labels.npy"
    np.save(labels, np.arange(16) % 4)
    written = () if command == "info" else ("-o", tmp_path / "flow.csv", *QUICK)
    _, out, _ = call(command, silent, "--labels", labels, *written)
    (line,) = (line for line in out.splitlines() if "--sigmas" in line)
    program, *arguments = shlex.split(line)
    assert program == "skinfo"
    assert arguments[-2:] == ["-o", "sigmas.parquet"]
    target = tmp_path / "sigmas.parquet"
    assert call(*arguments[:-1], target, *QUICK)[0] == 0
    curves = read_table(target)[0]
    assert curves["sigma"].nunique() == 12
    ceiling = curves.loc[curves["quantity"] == "label_ceiling", "value"]
    np.testing.assert_allclose(ceiling, np.log(4))


def test_a_run_with_noise_is_proposed_none(call, run):
    assert "--sigmas" not in call("info", run)[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sigmas", "1:10"), "start:stop:count, such as .1:10:12"),
        (("--sigmas", "0:1:3"), "goes up from a positive start"),
        (("--sigmas", "1:10:1"), "in 2 steps or more"),
        (("--sigmas", "1,-2"), "positive standard deviation"),
        (("--sigmas", "1:10:3", "--unit", "mean"), "'unit' parameter of sigma_curve must be"),
        (("--sigmas", "1:10:3", "--sigma", "0.1"), "--sigma has no effect beside --sigmas"),
        (("--sigmas", "1:10:3", "--bin-width", "1"), "--bin-width has no effect beside --sigmas"),
        (("--unit", "rms"), "--unit and --max-inputs go with --sigmas"),
        (("--max-inputs", "5"), "--unit and --max-inputs go with --sigmas"),
    ],
)
def test_bad_sigmas_end_in_one_line(call, silent, tmp_path, options, said):
    code, _, err = call("analyze", silent, "-o", tmp_path / "curves.csv", *options)
    assert code == 2
    assert says(err, said)
    assert not list(tmp_path.iterdir())


def test_replicas_are_no_function_of_the_input(call, run, tmp_path):
    code, _, err = call("analyze", run, "-o", tmp_path / "c.csv", "--sigmas", "1:10:3")
    assert code == 2
    assert says(err, "layer 'second' of this run has noise before it")


def test_small_sigmas_are_rounded_by_their_own_size():
    assert parse_sigmas("1e-15:1e-13:3") == pytest.approx([1e-15, 1e-14, 1e-13], rel=1e-11, abs=0)
