"""A quantity of a stranger's estimator has a name on axes and a place in reports."""

import json
import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from skinfo import BinningMIEstimator, compare_flows, information_flow, open_run, pool_flows
from skinfo.flow.snapshots import collect_snapshots
from skinfo.flow.tables import read_table, write_table
from skinfo.monitoring import FlowMonitor
from skinfo.quantities import QUANTITIES, Quantity, QuantityDescription, describe_quantity
from skinfo.view import FlowComparisonDisplay, InformationFlowDisplay, QuantityCurveDisplay

mpl.use("Agg")

RATIO = QuantityDescription(
    "participation_ratio", "Participation ratio", "ratio", better="lower", main=True,
    sentence="How many directions share the <variance>.",
)  # fmt: skip


class Participation(BaseEstimator):
    """Participation ratio of the covariance, and how many units there are."""

    quantity_descriptions = (
        RATIO, QuantityDescription("n_units", "Units", "count"),
        QuantityDescription("never_measured", "Never"),
        QuantityDescription("mutual_info", "a name that is taken"),
    )  # fmt: skip

    def fit(self, X, y=None, *, groups=None):  # noqa: ARG002
        values = np.linalg.eigvalsh(np.cov(X.T))
        ratio = values.sum() ** 2 / (values**2).sum()
        self.quantities_ = (
            Quantity.sampled("participation_ratio", ratio, 0.1, ""),
            Quantity.exact("n_units", X.shape[1], ""),
            Quantity.exact("without_words", 1.0, ""),
        )
        return self


def run(seed=0):
    rng = np.random.default_rng(seed)
    return open_run({(epoch, "hidden"): rng.normal(size=(40, 4)) for epoch in (1, 2, 3)})


@pytest.fixture(scope="module")
def table():
    estimators = {"mine": Participation(), "binned": BinningMIEstimator(bin_width=0.5)}
    return information_flow(estimators, run(), progress=False)


def test_a_table_describes_what_was_measured_and_no_more(table):
    described = {entry["name"]: entry for entry in table.attrs["quantities"]}
    assert list(described) == ["participation_ratio", "n_units"]
    assert json.loads(json.dumps(table.attrs["quantities"])) == table.attrs["quantities"]
    assert describe_quantity("participation_ratio", table) == RATIO
    assert describe_quantity("without_words", table).symbol == "without words"
    assert describe_quantity("mutual_info", table) == QUANTITIES["mutual_info"]


def test_the_last_step_of_a_pipeline_describes_its_quantities():
    flow = information_flow(make_pipeline(PCA(2), Participation()), run(), progress=False)
    assert describe_quantity("n_units", flow).symbol == "Units"


def test_tables_of_the_toolkit_alone_carry_no_descriptions():
    flow = information_flow(BinningMIEstimator(bin_width=0.5), run(), progress=False)
    assert "quantities" not in flow.attrs


@pytest.mark.parametrize(
    "entries",
    [
        None,
        "text",
        [3],
        [{"name": "n_units"}],
        [{"symbol": "x"}],
        [{"name": "n_units", "symbol": "n units", "better": [3]}],
    ],
)
def test_what_is_no_description_in_a_foreign_table_is_left_out(table, entries):
    foreign = table.copy()
    foreign.attrs = {"quantities": entries}
    assert describe_quantity("n_units", foreign).symbol == "n units"


def test_pictures_name_it_on_their_axes(table):
    curve = QuantityCurveDisplay.from_flow(table, "participation_ratio").plot()
    assert curve.ax_.get_ylabel() == "Participation ratio ↓"
    axes = InformationFlowDisplay.from_flow(table).plot().axes_
    assert list(axes) == ["binned_entropy", "participation_ratio"]
    assert axes["participation_ratio"].get_ylabel() == "Participation ratio ↓"


def test_comparisons_and_pools_keep_its_name(table):
    flows = {"one": table, "other": pool_flows([table, information_flow(
        {"mine": Participation(), "binned": BinningMIEstimator(bin_width=0.5)}, run(1),
        progress=False)])}  # fmt: skip
    display = FlowComparisonDisplay(flows, quantities=["participation_ratio"]).plot()
    assert display.axes_["participation_ratio", "hidden"].get_ylabel() == "Participation ratio ↓"
    assert describe_quantity("n_units", flows["other"]).symbol == "Units"
    assert "participation_ratio" in set(compare_flows(flows)["quantity"])


@pytest.fixture(scope="module")
def reported(table, tmp_path_factory):
    """Tables in both formats, and their pages, which another process wrote."""
    paths = [tmp_path_factory.mktemp("tables") / name for name in ("flow.parquet", "flow.csv")]
    for path in paths:
        write_table(path, table, collect_snapshots(run(), settings=table.attrs))
    code = """
import sys
from skinfo.cli import app
for path in sys.argv[1:]:
    app(["report", path], standalone_mode=False)
"""
    subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=True, capture_output=True)
    return {path.suffix: path for path in paths}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_another_process_reports_it_from_a_file(reported, suffix):
    path = reported[suffix]
    assert describe_quantity("participation_ratio", read_table(path)[0]) == RATIO
    text = path.with_suffix(".html").read_text(encoding="utf-8")
    figures = re.findall(r'<script type="application/json">(.*?)</script>', text)
    titles = [json.loads(figure)["layout"]["yaxis"]["title"]["text"] for figure in figures]
    assert "Participation ratio ↓" in titles
    assert "Units" in titles
    assert "<th>Participation ratio ↓<small>mine</small></th>" in text
    assert "<dt>Participation ratio ↓</dt>" in text
    assert "How many directions share the &lt;variance&gt;." in text


def test_a_monitor_carries_it_in_its_table(tmp_path):
    for _ in range(2):  # The second finds the journal of the first.
        with FlowMonitor({"mine": Participation()}, ["hidden"], path=tmp_path / "live.csv") as live:
            live.update(
                len(live.epochs) + 1, {"hidden": np.random.default_rng(0).normal(size=(9, 2))}
            )
    assert describe_quantity("participation_ratio", live.table) == RATIO
    assert sorted(set(live.table["epoch"])) == [1, 2]
