"""What layers know of inputs and classes is drawn, and said in a report, as it was measured."""

import re

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from skinfo import NoisyMIEstimator, open_run
from skinfo.flow import collect_snapshots, information_flow
from skinfo.view import (
    ConfusionDisplay,
    PointwiseInformationDisplay,
    make_report,
    plot_confusions,
    plot_remembered,
)

from .drawn import drawn

Y = np.array(["cat", "dog", "$x$"])[np.arange(30) % 3]


def estimator(**options):
    return NoisyMIEstimator(0.5, random_state=0, posterior_draws=16, **options)


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    arrays = {(e, name): rng.normal(size=(30, 2)) for e in (1, 2) for name in ("first", "second")}
    return open_run(arrays, labels=Y, layers=["first", "second"], sigma=0.5)


@pytest.fixture(scope="module")
def remembered(run):
    return collect_snapshots(run, estimators={"noisy": estimator()})


@pytest.fixture(scope="module")
def est(run):
    rows = run.load(2, "second").replicas()
    return estimator(units="bits").fit(rows.X, rows.y)


def test_inputs_are_drawn_by_class_in_the_order_of_their_values(est):
    display = drawn(PointwiseInformationDisplay.from_estimator(est, Y).plot())
    points = [line for line in display.ax_.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in points) == 30
    heights = np.concatenate([line.get_ydata() for line in points])
    np.testing.assert_allclose(np.sort(heights), np.sort(est.pointwise_mutual_info_))
    names = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert names == [r"\$x\$", "cat", "dog"]
    assert display.ax_.get_ylabel() == "i(x) [bits]"
    bars = [c for c in display.ax_.collections if isinstance(c, LineCollection)]
    spans = [path[:, 1] for c in bars for path in c.get_segments() if np.ptp(path[:, 0]) == 0]
    lengths = np.sort([np.ptp(span) for span in spans])
    np.testing.assert_allclose(lengths, np.sort(2 * 1.96 * est.pointwise_stderr_))


def test_the_least_known_inputs_are_named(est):
    display = drawn(PointwiseInformationDisplay.from_estimator(est, Y).plot())
    cats = np.flatnonzero(Y == "cat")
    least = cats[np.argsort(est.pointwise_mutual_info_[cats])[:3]]
    assert display.lowest(1, 3) == least.tolist()
    assert ", ".join(map(str, least)) in [text.get_text() for text in display.ax_.texts]


def test_a_layer_at_a_snapshot_is_that_of_its_estimator(remembered, est):
    display = PointwiseInformationDisplay.from_snapshots(remembered, "second", 2)
    np.testing.assert_allclose(display.values / np.log(2), est.pointwise_mutual_info_)
    assert display.ceiling == pytest.approx(np.log(30))
    assert display.title == "second, epoch 2"
    np.testing.assert_allclose(ConfusionDisplay.from_snapshots(remembered).matrix, est.confusion_)


def test_confusion_is_drawn_in_per_cent_with_its_errors(est):
    display = drawn(ConfusionDisplay.from_estimator(est).plot())
    written = {text.get_position(): text.get_text() for text in display.ax_.texts}
    for i, j in np.ndindex(3, 3):
        share, error = 100 * est.confusion_[i, j], 100 * est.confusion_stderr_[i, j]
        value, stderr = map(float, written[j, i].split("\n± "))
        assert (value, stderr) == pytest.approx((share, error), abs=0.051)
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == [r"\$x\$", "cat", "dog"]


def test_every_layer_and_snapshot_has_its_axes(remembered):
    assert len(plot_remembered(remembered).axes) == 2
    titles = [ax.get_title() for ax in plot_confusions(remembered).axes]
    assert titles[:4] == [
        f"{layer}, epoch {epoch}" for layer in ("first", "second") for epoch in (1, 2)
    ]


def test_what_was_not_measured_is_said(run, remembered):
    nothing = collect_snapshots(run)
    for draw in (plot_remembered, plot_confusions, PointwiseInformationDisplay.from_snapshots):
        with pytest.raises(ValueError, match="posterior_draws=16"):
            draw(nothing)
    with pytest.raises(ValueError, match="no layer 'third', but first, second"):
        ConfusionDisplay.from_snapshots(remembered, "third")
    with pytest.raises(ValueError, match="Epoch 5 is no snapshot; these are 1, 2"):
        ConfusionDisplay.from_snapshots(remembered, epoch=5)
    plain = NoisyMIEstimator(0.5).fit([[0.0], [1.0]], [0, 1])
    for display in (PointwiseInformationDisplay, ConfusionDisplay):
        with pytest.raises(ValueError, match="posterior_draws=16"):
            display.from_estimator(plain)


def test_one_label_for_each_input_is_needed(est):
    with pytest.raises(ValueError, match="for each of 30 inputs"):
        PointwiseInformationDisplay.from_estimator(est, Y[:4])


def test_a_report_has_a_section_of_every_layer(run, remembered):
    flow = information_flow({"noisy": estimator()}, run, progress=False)
    page = make_report(flow, remembered)
    section = page.partition('<section id="remembered">')[2].partition("</section>")[0]
    assert re.findall("<h3>(.*?)</h3>", section) == ["first", "second"]
    least = int(np.argmin(remembered.pointwise[1, -1]))
    assert f"least of input {least} of class" in section
    error = flow[flow["quantity"].eq("bayes_error")]["value"].iloc[-1]
    (said,) = re.findall(r"errs with ([\d.]+) ± [\d.]+ %", section.partition("second")[2])
    assert float(said) == pytest.approx(100 * error, abs=0.06)
    assert section.count('class="figure') == 4


def test_inputs_without_labels_are_one_class():
    rng = np.random.default_rng(0)
    unlabelled = open_run({(1, "a"): rng.normal(size=(8, 2))}, sigma=0.5)
    snapshots = collect_snapshots(unlabelled, estimators={"noisy": estimator()})
    assert len(drawn(plot_remembered(snapshots)).axes) == 1
    with pytest.raises(ValueError, match="no labels"):
        plot_confusions(snapshots)
    page = make_report(information_flow(estimator(), unlabelled, progress=False), snapshots)
    assert "nats of an input on average, and least of input" in page
