"""What the README shows runs and prints what it says."""

import re
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from skinfo import open_run

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
CHANGES = {"within error", "within brackets", "beyond error", "beyond brackets", ""}
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example_prints_what_the_readme_says(capsys):
    (first, *_), shown = [code for kind, code in BLOCKS if kind == "python"], dict(BLOCKS)[""]
    exec(compile(first, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == shown.strip()


def test_the_run_examples_work(tmp_path, monkeypatch):
    first, _, *others = (code for kind, code in BLOCKS if kind == "python")
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in (first, *others):
        exec(compile(code, "README.md", "exec"), names)
    plt.close("all")
    assert set(names["flow"]["estimator"]) == {"NoisyMIEstimator", "ClusteringScore"}
    assert open_run("my-run").epochs == [1, 10]
    assert open_run("recorded").layers[1].noise_before
    assert (tmp_path / "live.csv").stat().st_size > 1000
    assert set(names["changes"]["change"]) <= CHANGES
    assert names["curve"]["sigma"].nunique() == 20
    assert names["sweep"]["binned_entropy"].is_monotonic_decreasing
    assert names["sweep"]["notes"].iloc[0] == "at ceiling"
    assert set(names["est"].auc_) == {"coarse", "fine"}
