"""skinfo plot: what it draws, and of which table."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import skinfo
from skinfo import information_flow, open_run
from skinfo.flow.tables import write_table

from .written import says


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
    assert says(err, "no 'nc9'; it holds auc, between_mean")
    assert call("plot", tmp_path / "flow.csv")[0] == 0
    assert {p.name for p in tmp_path.iterdir()} == {"flow.csv", "flow.png"}


def test_plot_says_which_of_two_estimators_it_draws(call, run, tmp_path):
    path, target = tmp_path / "flow.csv", tmp_path / "picture.png"
    estimators = {f"wide{w}": skinfo.BinningMIEstimator(bin_width=w) for w in (0.1, 1.0)}
    write_table(path, information_flow(estimators, open_run(run), progress=False))
    for kind in ("overview", "plane", "curve"):
        command = ("plot", path, "--kind", kind, "-o", target, "--force")
        command += ("--quantity", "binned_mutual_info") if kind == "curve" else ()
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
    assert says(err, tmp_path / "flow.csv", "not a flow table")


def test_plot_draws_a_curve_against_sigma(call, tmp_path):
    path = tmp_path / "curve.csv"
    write_table(path, skinfo.sigma_curve([[-1.0], [1.0]], sigmas=[0.25, 0.5, 1.0]))
    assert call("plot", path)[0] == 0
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = call("plot", path, "--kind", "plane")
    assert code == 2
    assert says(err, path, "curves against sigma", "--kind plane")
    code, _, err = call("plot", path, "--estimator", "noisy", "--force")
    assert code == 2
    assert says(err, path, "--estimator has no effect")


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


def test_plot_draws_inputs_and_classes_where_they_were_measured(call, run, tables, tmp_path):
    code, _, err = call("plot", tables / "flow.parquet", "--kind", "inputs")
    assert code == 2
    assert says(err, "--posterior-draws 16")
    table = tmp_path / "flow.csv"
    assert call("analyze", run, "-o", table, "--posterior-draws", "16")[0] == 0
    for kind in ("inputs", "confusion"):
        assert call("plot", table, "--kind", kind)[0] == 0
        assert (tmp_path / f"flow.{kind}.png").read_bytes().startswith(b"\x89PNG")
