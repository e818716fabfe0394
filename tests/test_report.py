"""The report: it shows what the table holds, says what it lacks, and takes no text for code."""

import json
import re
import sys
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    SlicedMIEstimator,
    information_flow,
    open_run,
    sigma_curve,
)
from skinfo.cli import main
from skinfo.errors import MissingExtraError
from skinfo.flow.snapshots import collect_snapshots
from skinfo.flow.tables import read_table, write_table
from skinfo.quantities import NOTES, QuantityDescription
from skinfo.view import make_report, write_report
from skinfo.view.report.figures import epoch_axis
from skinfo.view.words import bracket, epoch_ranges, with_error

LAYERS = ["first", "second", "third"]
EPOCHS = (0, 1, 8, 40, 900)
LABELS = np.arange(16) % 2
#: What a user might call a layer to break a page.
HOSTILE = ["</script><img src=x onerror=alert(1)>", "<b>bold</b> & %{x}", "\"'`\u2028<!--<script>"]


def arrays(layers=LAYERS, epochs=EPOCHS):
    rng = np.random.default_rng(0)
    made = {
        (epoch, layer): rng.normal(size=(16, 4, 2)) + k * 0.3 * LABELS[:, None, None]
        for epoch in epochs
        for k, layer in enumerate(layers)
    }
    # No noise precedes the first layer.
    return made | {(epoch, layers[0]): made[epoch, layers[0]][:, 0] for epoch in epochs}


def measure(run, measures=(), **noisy):
    estimators = {
        "noisy": NoisyMIEstimator(0.5, tol=0.2, random_state=0, **noisy),
        "binned": BinningMIEstimator(bin_width=0.5),
    }
    if run.labels is not None:
        estimators["clustered"] = ClusteringScore(measures=measures)
    return information_flow(estimators, run, progress=False)


def made(layers=LAYERS, labels=LABELS, **settings):
    run = open_run(arrays(layers), labels=labels, sigma=0.5, layers=layers)
    snapshots = collect_snapshots(
        run, settings={"run": "here", "versions": {"numpy": "1.2.3"}, **settings}
    )
    losses = {name: np.linspace(0.7, 0.1, 5) for name in ("test_loss", "train_accuracy")}
    return measure(run), replace(snapshots, losses=losses)


@pytest.fixture(scope="module")
def both():
    return made()


@pytest.fixture
def table(both):
    return both[0].copy()


@pytest.fixture
def few(table):
    """What the noisy estimator measured, with AUC: a smaller page."""
    return table[(table["estimator"] == "noisy") | (table["quantity"] == "auc")].copy()


@pytest.fixture(scope="module")
def snapshots(both):
    return both[1]


class Page(HTMLParser):
    """A page as a browser reads it: elements, texts by section, figures."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.figures, self.texts = [], [], {"": ""}
        self.section, self.inside = "", []
        self._json = self._code = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.elements.append((tag, found))
        if tag == "section":
            self.section = found["id"]
            self.texts[self.section] = ""
        if tag == "details":
            self.inside.append(self.section)
        self._json = found.get("type") == "application/json"
        self._code = tag in ("script", "style") and not self._json

    def handle_endtag(self, tag):
        if tag == "details":
            self.inside.pop()
        self._json = self._code = False

    def handle_data(self, data):
        if self._json:
            figure = json.loads(data)
            self.figures.append({**figure, "section": self.section, "folded": bool(self.inside)})
        elif not self._code:
            self.texts[self.section] += data

    def tags(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    def figure(self, title):
        """The first figure whose ordinate says so."""
        return next(f for f in self.figures if f["layout"]["yaxis"]["title"]["text"] == title)


def parsed(*arguments, **options):
    return Page(make_report(*arguments, **options))


@pytest.fixture(scope="module")
def page(both):
    return parsed(*both, title="My run")


def grid(table, quantity, column="value", estimator="noisy"):
    chosen = table[(table["quantity"] == quantity) & (table["estimator"] == estimator)]
    return chosen.pivot(index="layer", columns="epoch", values=column).loc[LAYERS].to_numpy()


def numbers(values):
    return np.array([np.nan if value is None else value for value in values])


# --- what is on the page -------------------------------------------------------------------------


def test_the_page_has_every_section_and_needs_nothing_else(page):
    assert list(page.texts) == [
        "", "plane", "curves", "distances", "remembered", "summary", "notes", "settings", "reading",
    ]  # fmt: skip
    for _, attributes in page.elements:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith(("#", "data:,"))
    (policy,) = [m["content"] for m in page.tags("meta") if "http-equiv" in m]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "3 layers, 5 checkpoints (epochs 0 to 900), 3 estimators" in page.texts[""]
    assert page.texts[""].count("My run") == 2
    assert "Nothing is on record of single inputs and classes" in page.texts["remembered"]


def test_the_same_table_makes_the_same_bytes(few, snapshots):
    assert make_report(few, snapshots) == make_report(few, snapshots)


def test_the_plane_holds_the_numbers_of_all_epochs(page, table):
    plane = page.figure("I(Y;T) [nats]")
    assert plane["section"] == "plane"
    assert plane["layout"]["xaxis"]["title"]["text"] == "I(X;T) [nats]"
    assert plane["titles"] == [f"Epoch {epoch}" for epoch in EPOCHS]
    trails, brackets, points = (plane["data"][3 * i : 3 * i + 3] for i in range(3))
    across, up = grid(table, "mutual_info"), grid(table, "label_mutual_info")
    ends = [grid(table, "mutual_info", column) for column in ("lower", "upper")]
    label_ends = [grid(table, "label_mutual_info", column) for column in ("lower", "upper")]
    for k, layer in enumerate(LAYERS):
        for trace in (trails[k], points[k]):
            np.testing.assert_array_equal(trace["x"], across[k])
            np.testing.assert_array_equal(trace["y"], up[k])
            assert trace["meta"]["per"] == 1
        assert (points[k]["name"], trails[k]["meta"]["trail"]) == (layer, True)
        x, y = (numbers(brackets[k][name]).reshape(5, 6) for name in "xy")
        np.testing.assert_array_equal(x[:, :2].T, [end[k] for end in ends])
        np.testing.assert_array_equal(y[:, 3:5].T, [end[k] for end in label_ends])
        np.testing.assert_array_equal(x[:, 3:5].T, [across[k]] * 2)
        np.testing.assert_array_equal(y[:, :2].T, [up[k]] * 2)
    low, high = plane["layout"]["xaxis"]["range"]
    assert low < np.min(ends)
    assert high > np.max(ends)


def test_hover_says_value_error_bracket_ceiling_and_notes(few):
    first = (few["epoch"] == 8) & (few["layer"] == "second") & (few["estimator"] == "noisy")
    row = few[first & (few["quantity"] == "mutual_info")].iloc[0]
    few.loc[row.name, "notes"] = "above ceiling"
    page = parsed(few)
    expected = [
        "second, epoch 8",
        f"I(X;T) {with_error(row['value'], row['stderr'])} nats",
        "σ = 0.5",
        f"bracket {bracket(row['lower'], row['upper'])}",
        f"ceiling {few[first & (few['quantity'] == 'ceiling')]['value'].iloc[0]:.3f}",
        "⚑ above ceiling",
    ]
    (line,) = [t for t in page.figure("I(X;T) [nats]")["data"] if t["name"] == "second"]
    assert line["hovertext"][2].split("<br>") == expected
    points = page.figure("I(Y;T) [nats]")["data"][6:]
    assert points[1]["hovertext"][2].split("<br>")[:6] == expected


def test_curves_draw_values_bands_and_ceilings(page, table):
    figure = page.figure("I(X;T) [nats]")
    assert figure["section"] == "curves"
    lines = [t for t in figure["data"] if t["name"] in LAYERS]
    values = grid(table, "mutual_info")
    for k, line in enumerate(lines):
        np.testing.assert_array_equal(line["y"], values[k])
        np.testing.assert_allclose(line["x"], np.log10(1 + np.array(EPOCHS)))
        band = next(t for t in figure["data"] if t["name"] == f"{LAYERS[k]} bracket")
        low, high = (grid(table, "mutual_info", end)[k] for end in ("lower", "upper"))
        np.testing.assert_array_equal(band["y"][:-1], [*low, *high[::-1], low[0]])
        assert band["fill"] == "toself"
    binned = page.figure("H(Bin(T)) [nats]")["layout"]
    (name,) = [note["text"] for note in binned["annotations"]]
    assert name == "ceiling 2.773"
    assert [s["y0"] for s in binned["shapes"] if s.get("yref") == "y"] == [np.log(16)]
    assert len({line["marker"]["symbol"] for line in lines}) == 3


def test_epoch_0_has_a_place_on_a_logarithmic_axis(page):
    figure = page.figure("I(X;T) [nats]")
    axis = figure["layout"]["xaxis"]
    assert axis["ticktext"] == ["0", "1", "10", "100"]
    assert figure["marks"][0] == axis["tickvals"][0] == 0
    assert axis["range"][0] < 0 < np.log10(901) < axis["range"][1]


@pytest.mark.parametrize(
    ("epochs", "kind"), [((1.0, 10.0, 100.0), "log"), ((1.0, 2.0, 3.0), None), ((0.0, 5.0), None)]
)
def test_epochs_that_reach_far_are_drawn_in_the_logarithm(epochs, kind):
    assert epoch_axis(np.array(epochs)).get("type") == kind


def test_what_was_recorded_in_training_is_drawn(page, snapshots):
    for title, name in (("Loss", "test_loss"), ("Accuracy", "train_accuracy")):
        (line,) = page.figure(title)["data"]
        np.testing.assert_array_equal(line["y"], snapshots.losses[name])
        assert line["name"] == name.replace("_", " ")


def test_the_mark_of_an_epoch_follows_the_epochs_of_the_table(table, snapshots):
    """The record of the losses may know of more epochs than the table."""
    page = parsed(table[table["epoch"].isin([8, 40, 900])], snapshots)
    assert page.figure("Loss")["marks"] == np.log10([9, 41, 901]).tolist()
    assert page.figure("I(X;T) [nats]")["marks"] == [8.0, 40.0, 900.0]


def test_fewer_checkpoints_than_layers_are_lines_across_the_layers(table, snapshots):
    some = table[table["epoch"].isin([8, 900])]
    made = parsed(some, snapshots).figure("I(X;T) [nats]")
    assert made["marks"] == []
    values = some[some["quantity"] == "mutual_info"].pivot(
        index="epoch", columns="layer", values="value"
    )
    lines = [trace for trace in made["data"] if trace.get("name", "").endswith(" by depth")]
    assert [line["name"] for line in lines] == ["epoch 8 by depth", "epoch 900 by depth"]
    for line, epoch in zip(lines, (8, 900), strict=True):
        np.testing.assert_array_equal(line["y"], values.loc[epoch, list(LAYERS)])
        np.testing.assert_array_equal(np.round(line["x"]), [0, 1, 2])
    # The points of a layer stand together, for its box to be hidden at once.
    points = [trace for trace in made["data"] if trace.get("name") in LAYERS]
    bands = [trace for trace in made["data"] if trace.get("name", "").endswith(" bracket")]
    # Beside one another they need not be fainter where there are many layers.
    assert {band["opacity"] for band in bands} == {0.35}
    for k, trace in enumerate(points):
        np.testing.assert_array_equal(trace["y"], values[LAYERS[k]])
        assert trace["mode"] == "markers"
        assert trace["meta"]["layer"] == k


def test_distances_are_densities_of_every_layer_and_snapshot(page, snapshots):
    figures = [f for f in page.figures if f["section"] == "distances"]
    assert len(figures) == 3
    for k, figure in enumerate(figures):
        for trace, counts in zip(
            figure["data"], (snapshots.within, snapshots.between), strict=True
        ):
            x, y = (
                numbers(trace[name]).reshape(len(snapshots.snapshot_epochs), -1) for name in "xy"
            )
            assert x.shape[1] == trace["meta"]["per"] == 66
            for j in range(len(snapshots.snapshot_epochs)):
                inside = ~np.isnan(x[j])
                edges, density = x[j][inside][1:], y[j][inside][1:-1]
                assert np.sum(density * np.diff(edges)) == pytest.approx(1)
                share = density * np.diff(edges) * counts[k, j].sum()
                np.testing.assert_allclose(share, counts[k, j][: len(share)])
    radios = [i for i in page.tags("input") if i.get("name") == "snapshot"]
    assert len(radios) == len(snapshots.snapshot_epochs)
    assert [i for i in radios if "checked" in i] == [radios[-1]]


def test_main_quantities_come_first_and_many_others_are_folded():
    run = open_run(arrays(), labels=LABELS, sigma=0.5, layers=LAYERS)
    page = parsed(measure(run, measures="all"), collect_snapshots(run))
    curves = [f for f in page.figures if f["section"] == "curves"]
    shown = [f["layout"]["yaxis"]["title"]["text"] for f in curves if not f["folded"]]
    folded = [f["layout"]["yaxis"]["title"]["text"] for f in curves if f["folded"]]
    assert shown == ["I(X;T) [nats]", "I(Y;T) [nats]", "H(Bin(T)) [nats]", "Clustering AUC ↑"]
    assert len(folded) >= 12
    assert f"{len(folded)} more quantities" in page.texts["curves"]
    assert "ceiling" not in folded


def test_the_summary_says_value_error_bracket_ceiling_and_unit(page, table):
    last = table[table["epoch"] == 900]
    text = page.texts["summary"]
    assert "Last checkpoint: epoch 900" not in page.texts["notes"]
    for quantity in ("mutual_info", "label_mutual_info"):
        for _, row in last[
            (last["quantity"] == quantity) & (last["estimator"] == "noisy")
        ].iterrows():
            assert with_error(row["value"], row["stderr"]) in text
            assert bracket(row["lower"], row["upper"]) in text
    assert "noisy · nats" in text
    assert "binned · nats · ceiling 2.773" in text


def test_estimators_that_measure_the_same_are_told_apart(few):
    other = few[few["estimator"] == "noisy"].assign(estimator="louder", value=0.25)
    page = parsed(pd.concat([few, other]))
    planes = [f for f in page.figures if f["section"] == "plane"]
    assert [plane["folded"] for plane in planes] == [False, True]
    assert page.texts["curves"].count("louder") >= 2


def test_units_are_those_of_the_table():
    run = open_run(arrays(), labels=LABELS, sigma=0.5, layers=LAYERS)
    page = parsed(measure(run, units="bits"))
    (line,) = (t for t in page.figure("I(X;T) [bits]")["data"] if t["name"] == "third")
    assert re.match(r"third, epoch 0<br>I\(X;T\) \S+ ± \S+ bits<br>", line["hovertext"][0])


def test_settings_and_versions_are_on_the_page(page):
    text = page.texts["settings"]
    assert re.search(r"run\s*here", text)
    assert re.search(r"numpy\s*1\.2\.3", text)
    assert re.search(r"This page: skinfo \S+, plotly \d", text)


@pytest.mark.parametrize("noise", [0.1, None])
def test_sigma_stands_beside_what_was_measured_with_it(noise):
    run = open_run(arrays(epochs=(1, 2)), labels=LABELS, sigma=dict(zip(LAYERS, (0.5, 0.25, 2.0),
                   strict=True)), layers=LAYERS)  # fmt: skip
    noisy = {"noisy": NoisyMIEstimator(noise, tol=0.2), "b": BinningMIEstimator(bin_width=0.5)}
    table = information_flow(noisy, run, progress=False)
    text = make_report(table)
    page = Page(text)
    said = "σ = 0.1" if noise else "σ = 0.25 to 2, each layer its own"
    (plane,) = re.findall(r"<figcaption>I\(Y;T\) against I\(X;T\)(.*?)</figcaption>", text)
    assert said in plane
    (caption,) = re.findall(r"<figcaption>I\(X;T\) \[nats\](.*?)</figcaption>", text)
    assert said in caption
    assert page.texts["summary"].count("noisy · nats · " + said) == 2
    (binned,) = re.findall(r"<figcaption>H\(Bin\(T\)\) \[nats\](.*?)</figcaption>", text)
    assert "σ" not in binned
    (line,) = (t for t in page.figure("I(X;T) [nats]")["data"] if t.get("name") == "second")
    assert ("σ = 0.1" if noise else "σ = 0.25") in line["hovertext"][0]
    assert page.texts["summary"].count("σ = 0.25") == (0 if noise else 4)
    settings = page.texts["settings"]
    assert re.search(r"sigma\s*0\.1" if noise else r"sigma\s*each layer's own", settings)
    assert "null" not in settings
    assert "errors" not in settings


def test_sigma_in_rms_is_said_with_its_unit():
    run = open_run({(1, "hidden"): np.arange(8.0)[:, None]}, labels=np.arange(8) % 2)
    sliced = SlicedMIEstimator(0.5, sigma_unit="rms", tol=0.2, random_state=0)
    text = make_report(information_flow({"sliced": sliced}, run, progress=False))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, flags=re.DOTALL)
    assert all("σ = 0.5 rms" in one for one in captions if "[nats]" in one)
    assert "sliced · nats · σ = 0.5 rms" in Page(text).texts["summary"]


def test_labels_with_a_name_have_a_plane():
    run = open_run({(1, "hidden"): np.arange(8.0)[:, None]}, labels={"topic": np.arange(8) % 2})
    noisy = NoisyMIEstimator(0.5, tol=0.2, random_state=0)
    page = parsed(information_flow({"noisy": noisy}, run, progress=False))
    (plane,) = (figure for figure in page.figures if figure["section"] == "plane")
    assert plane["layout"]["xaxis"]["title"]["text"] == "I(X;T) [nats]"


def test_a_plane_of_one_point_is_not_drawn():
    # Bins that tell all inputs apart say the same of every layer.
    run = open_run({(1, name): np.arange(8.0)[:, None] for name in "ab"}, labels=[0, 1] * 4)
    flow = information_flow(BinningMIEstimator(bin_width=0.5), run, progress=False)
    page = parsed(flow)
    assert not [figure for figure in page.figures if figure["section"] == "plane"]
    assert "with skinfo analyze --sigma" in page.texts["plane"]


# --- flags ---------------------------------------------------------------------------------------


def test_severe_notes_stand_at_the_top_with_their_layers(few):
    noted = (few["quantity"] == "mutual_info") & (few["estimator"] == "noisy")
    third = noted & (few["layer"] == "third")
    few.loc[third & few["epoch"].isin([1, 8, 40]), "notes"] = "data processing violated"
    few.loc[noted & (few["layer"] == "first"), "notes"] = "saturated; tolerance not met"
    page = parsed(few)
    warned = page.texts[""]
    assert "data processing violated in third: more than the layer before" in warned
    assert "tolerance not met in first" in warned
    assert "saturated" not in warned
    text = page.texts["notes"]
    assert "I(X;T) of noisy: third at epochs 1 to 40" in text
    assert "I(X;T) of noisy: first at all 5 epochs" in text
    assert NOTES["saturated"] in text


def test_a_table_without_notes_says_so(few):
    page = parsed(few.assign(notes=""))
    assert "No number of this table has a note." in page.texts["notes"]
    assert not [d for d in page.tags("div") if d.get("class") == "warning"]


def test_what_could_not_be_read_is_said_and_the_rest_is_drawn():
    broken = arrays() | {(8, "second"): np.array([["no number"]])}
    run = open_run(broken, labels=LABELS, sigma=0.5, layers=LAYERS)
    with pytest.warns(UserWarning, match="not measured"):
        table = measure(run)
    page = parsed(table, collect_snapshots(run))
    assert "read error in second" in page.texts[""]
    assert "second at epoch 8" in page.texts["notes"]
    (line,) = [t for t in page.figure("I(X;T) [nats]")["data"] if t["name"] == "second"]
    assert [value is None for value in line["y"]] == [False, False, True, False, False]
    band = next(t for t in page.figure("I(X;T) [nats]")["data"] if t["name"] == "second bracket")
    assert [i for i, value in enumerate(band["y"]) if value is None] == [5, 11]


def test_a_note_of_another_version_is_shown_as_it_is(few):
    few.loc[few.index[0], "notes"] = "quite new"
    assert "quite new" in parsed(few).texts["notes"]


def test_what_is_infinite_or_no_number_is_said(few):
    rows = (few["quantity"] == "auc") & (few["layer"] == "second")
    few.loc[rows & (few["epoch"] == 8), "value"] = np.inf
    few.loc[rows & (few["epoch"] == 40), ["value", "lower", "upper"]] = np.nan
    text = parsed(few).texts["curves"]
    assert "because infinite: second epoch 8." in text
    assert "because not a number: second epoch 40." in text


def test_infinite_losses_are_said_a_sentence_each(few, snapshots):
    losses = {name: np.array([np.inf, *[0.5] * 4]) for name in ("train_loss", "test_loss")}
    text = parsed(few, replace(snapshots, losses=losses)).texts["curves"]
    assert (
        "because infinite: train loss epoch 0. Not drawn, because infinite: test loss epoch 0."
    ) in text


# --- hostile texts -------------------------------------------------------------------------------


def test_no_text_of_a_user_becomes_code():
    table, snapshots = made(
        HOSTILE, note=HOSTILE[0], **{HOSTILE[1]: [HOSTILE[2], {"a": HOSTILE[0]}]}
    )
    table["estimator"] = table["estimator"].replace("noisy", HOSTILE[0])
    table.loc[table.index[3], "notes"] = "read error: " + HOSTILE[0]
    losses = {f"loss {HOSTILE[0]}": np.ones(5), HOSTILE[1]: np.ones(5)}
    page = parsed(table, replace(snapshots, losses=losses), title=HOSTILE[0])
    assert not page.tags("img")
    assert not page.tags("b")
    # Those of the page itself: one a figure, plotly.js, its own.
    assert len(page.tags("script")) == len(page.figures) + 2
    for section in ("", "summary", "notes", "settings"):
        assert HOSTILE[0] in page.texts[section]
    chips = [b for b in page.tags("button") if b.get("class") == "chip"]
    assert len(chips) == 3
    names = [t["name"] for t in page.figure("I(X;T) [nats]")["data"] if t.get("hovertext")]
    assert names[1] == "&lt;b&gt;bold&lt;/b&gt; &amp; %{x}"
    texts = json.dumps([page.figures[0]["data"], page.figure("Loss")["data"]])
    assert "<img" not in texts
    assert "<b>" not in texts


def test_every_text_that_plotly_draws_is_escaped():
    link = '<a href="https://example.org">here</a>'
    table, snapshots = made([link, "b", "c"], note=link)
    mine = QuantityDescription(name=link, symbol=link, sentence=link, unit_kind="count")
    rows = table[table["quantity"] == "mutual_info"].assign(
        quantity=link, unit=link, estimator=link
    )
    both = pd.concat([table, rows], ignore_index=True)
    both.attrs = {"quantities": {link: asdict(mine)}}
    page = parsed(both, replace(snapshots, losses={link: np.ones(5)}), title=link)
    figures = json.dumps([{k: f[k] for k in ("data", "layout")} for f in page.figures])
    assert "&lt;a href" in figures
    assert "<a" not in figures


def test_upper_ends_beyond_the_axis_are_said(few):
    far = few.copy()
    far.loc[(far["quantity"] == "mutual_info") & (far["layer"] == LAYERS[1]), "upper"] = 1000.0
    page = parsed(far)
    assert page.figure("I(X;T) [nats]")["layout"]["yaxis"]["range"][1] < 100
    assert f"upper ends above the axis: {LAYERS[1]} to 1000" in page.texts["curves"]
    assert page.figures[0]["layout"]["xaxis"]["range"][1] < 100


# --- what is missing -----------------------------------------------------------------------------


def test_without_labels_a_sentence_takes_the_place_of_the_plane():
    run = open_run(arrays(), sigma=0.5, layers=LAYERS)
    page = parsed(measure(run), collect_snapshots(run))
    assert "the table holds no label_mutual_info" in page.texts["plane"]
    assert "--sigma" not in page.texts["plane"]
    assert "the run has no labels" in page.texts["distances"]
    assert "no losses on record" in page.texts["curves"]
    assert page.figure("I(X;T) [nats]")["section"] == "curves"


def test_without_snapshots_the_rest_is_there(table):
    table.attrs = {}
    page = parsed(table)
    assert "Distances are kept in the .npz beside" in page.texts["distances"]
    assert "Losses are kept in the .npz beside" in page.texts["curves"]
    assert "does not say how it was made" in page.texts["settings"]
    assert {f["section"] for f in page.figures} == {"plane", "curves"}


@pytest.mark.parametrize("estimator", ["noisy", "binned", "clustered"])
def test_one_estimator_alone_makes_a_page(table, estimator):
    page = parsed(table[table["estimator"] == estimator])
    assert [f for f in page.figures if f["section"] == "curves" and not f["folded"]]
    if estimator == "clustered":
        assert "no mutual_info and no label_mutual_info" in page.texts["plane"]
        assert "where a layer has noise, or with skinfo analyze --sigma" in page.texts["plane"]


def test_nothing_that_could_be_read_makes_a_page_that_says_so():
    run = open_run({(1, "a"): np.array([["no number"]])}, labels=[0], sigma=0.5)
    with pytest.warns(UserWarning, match="not measured"):
        table = information_flow(NoisyMIEstimator(0.5), run, progress=False)
    page = parsed(table)
    assert not page.figures
    assert "nothing could be measured" in page.texts["curves"]
    assert "read error in a" in page.texts[""]


def test_one_checkpoint_makes_a_page():
    run = open_run(arrays(epochs=(7,)), labels=LABELS, sigma=0.5, layers=LAYERS)
    page = parsed(measure(run), collect_snapshots(run))
    figure = page.figure("I(X;T) [nats]")
    assert figure["layout"]["xaxis"]["ticktext"] == LAYERS
    assert [t["x"] for t in figure["data"] if t.get("hovertext")] == [[0], [1], [2]]
    assert "disabled" in next(i for i in page.tags("input") if i["type"] == "range")


def test_a_curve_against_sigma_is_no_flow_and_says_what_draws_it(rng):
    curve = sigma_curve(rng.normal(size=(8, 2)), sigmas=[0.5], tol=0.1, random_state=0)
    with pytest.raises(ValueError, match=r"curves against sigma.*skinfo plot.*analyze without"):
        make_report(curve)


# --- bad tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["layer", "quantity", "value", "upper", "notes"])
def test_a_missing_column_is_named_with_the_file(tmp_path, table, column):
    path = tmp_path / "flow.csv"
    table.drop(columns=column).to_csv(path, index=False)
    with pytest.raises(ValueError, match=rf"flow\.csv is not a flow table: .* column '{column}'"):
        write_report(path, tmp_path / "report.html")
    with pytest.raises(ValueError, match=f"The table is not a flow table: .* column '{column}'"):
        make_report(table.drop(columns=column))
    assert not (tmp_path / "report.html").exists()


def test_a_number_that_is_there_twice_is_an_error(table):
    with pytest.raises(ValueError, match="epoch 0, layer 'first', noisy mutual_info more than"):
        make_report(pd.concat([table, table]))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("value", "much", "row 3, column 'value': expected a number"),
     ("epoch", "last", "row 3, column 'epoch': expected a whole number"),
     ("epoch", np.nan, "row 3, column 'epoch': expected a whole number")],
)  # fmt: skip
def test_a_column_of_something_else_is_an_error(table, column, value, message):
    table[column] = table[column].astype(object)
    table.loc[table.index[2], column] = value
    with pytest.raises(ValueError, match=f"The table, {message}"):
        make_report(table)


def test_an_empty_table_is_an_error(table):
    with pytest.raises(ValueError, match="has no rows"):
        make_report(table.iloc[:0])


# --- files and the command -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(both, tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "flow.parquet"
    write_table(path, *both)
    return path


def test_a_stored_table_makes_the_page_of_the_one_in_memory(tmp_path, stored, both):
    page = tmp_path / "report.html"
    size = write_report(stored, page)
    assert size == page.stat().st_size > 3e6
    title = "Information flow: flow.parquet"
    assert page.read_text(encoding="utf-8") == make_report(*both, title=title)


def test_a_table_in_csv_makes_the_same_page(tmp_path, both):
    table, snapshots = both
    snapshots = replace(snapshots, settings=table.attrs | snapshots.settings)
    write_table(tmp_path / "flow.csv", table, snapshots)
    back = make_report(*read_table(tmp_path / "flow.csv"))
    assert back == make_report(table, snapshots)


def test_a_page_is_not_replaced_unasked_nor_by_half(tmp_path, stored, monkeypatch):
    page = tmp_path / "report.html"
    page.write_text("old")
    with pytest.raises(ValueError, match="exists"):
        write_report(stored, page)
    with pytest.raises(ValueError, match="no directory"):
        write_report(stored, tmp_path / "nowhere" / "report.html")

    def full_disk(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            write_report(stored, page, force=True)
    assert page.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    write_report(stored, page, force=True)
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.fixture
def call(monkeypatch, capsys):
    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["skinfo", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capsys.readouterr()

    return called


def test_the_command_writes_the_page_and_says_its_size(call, stored, tmp_path):
    page = tmp_path / "sent.html"
    assert call(stored, "-o", page, "--title", "For you") == (
        0, f"Report in {page}, {page.stat().st_size / 1e6:.1f} MB\n", "",
    )  # fmt: skip
    assert "<title>For you</title>" in page.read_text(encoding="utf-8")
    code, out, err = call(stored, "-o", page)
    assert (code, out) == (2, "")
    assert "--force" in err
    assert call(stored, "-o", page, "--force")[0] == 0


def test_the_page_of_the_command_lies_beside_the_table(call, both, tmp_path):
    write_table(tmp_path / "flow.parquet", *both)
    assert call(tmp_path / "flow.parquet")[0] == 0
    assert (tmp_path / "flow.html").is_file()


@pytest.mark.parametrize("name", ["report.pdf", "flow.parquet", "report"])
def test_the_command_writes_html_only(call, stored, tmp_path, name):
    code, _, err = call(stored, "-o", tmp_path / name)
    assert code == 2
    assert "ends in .html" in err


def test_without_plotly_the_extra_is_named(call, stored, tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] == "plotly":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(MissingExtraError, match=r"skinfo\[report\]"):
        write_report(stored, tmp_path / "report.html")
    code, _, err = call(stored, "-o", tmp_path / "report.html")
    assert code == 2
    assert "skinfo[report]" in err


def test_the_files_of_the_page_are_packed():
    setup = (Path(__file__).parents[1] / "setup.cfg").read_text(encoding="utf-8")
    assert "skinfo.view.report = *.css, *.html, *.js" in setup


def test_epochs_in_words():
    assert epoch_ranges([1, 4, 5, 6, 7], [1, 2, 4, 5, 6, 7, 9]) == "epochs 1, 4 to 7"
