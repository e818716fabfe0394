"""What the documentation says of full-size runs is what their committed tables hold."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "results.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())
CHOOSING = (DOCS / "which_estimator.md").read_text(encoding="utf-8")


def results(name, **where):
    table = pd.read_csv(DOCS / "results" / f"{name}.csv")
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table)
    return table


def printed(header, page=PAGE):
    """The cells of the table of a page whose header begins so, by the first of every row."""
    lines = page.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith(f"| {header} |"))
    rows = [line for line in lines[start + 2 :] if line.startswith("|") or not line]
    rows = rows[: rows.index("")]
    return {
        cells[0]: cells[1:] for cells in ([c.strip() for c in r.split("|")[1:-1]] for r in rows)
    }


def fall(table):
    value = table.sort_values("epoch")["value"]
    return (value.cummax() - value).max()


def fall_beyond_brackets(table):
    ordered = table.sort_values("epoch")
    return (ordered["lower"].cummax() - ordered["upper"]).max()


def in_words(values, decimals, last=" and "):
    *several, end = [f"{value:.{decimals}f}" for value in values]
    return ", ".join(several) + last + end


def test_one_neuron_ends_above_the_entropy_of_four_to_one():
    ends = results("single_neuron", step=10_000_000).sort_values("sigma")
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    said = (
        f"{in_words(ends['mutual_info'] - entropy, 4)} above H(1/4) at sigma 0.01, 0.02, 0.05, 0.1"
    )
    assert said in PROSE


def test_both_leaky_neurons_fall():
    first, second = (results("leaky_relu", layer=k)["mutual_info"] for k in (1, 2))
    said = "; ".join(f"{x.max():.3f} then {x.iloc[-1]:.3f}" for x in (first, second))
    assert f"| {said} |" in PROSE


@pytest.fixture(scope="module")
def tanh():
    return results("szt_tanh")


def test_the_tanh_network_ends_so(tanh):
    rows = printed("layer")
    assert list(rows) == list("12345")
    for layer, cells in rows.items():
        last = tanh[(tanh["epoch"] == 10_000) & (tanh["layer"] == f"layer{layer}")]
        last = last.set_index(["estimator", "quantity"])
        found = []
        for quantity in ("mutual_info", "label_mutual_info"):
            one = last.loc["noisy", quantity]
            error = [f"{one['stderr']:.3f}"] if quantity == "mutual_info" else []
            bracket = f"{one['lower']:.2f} to {one['upper']:.2f}"
            found += [f"{one['value']:.3f}", *error, bracket]
        found += [
            f"{last.loc[key, 'value']:.3f}"
            for key in (("binned", "binned_entropy"), ("clustered", "auc"))
        ]
        assert cells == found


def test_the_falls_of_the_tanh_network(tanh):
    noisy = tanh[(tanh["estimator"] == "noisy") & (tanh["quantity"] == "mutual_info")]
    layers = [noisy[noisy["layer"] == f"layer{k}"] for k in (3, 4, 5)]
    assert f"layers 3, 4 and 5 are {in_words(map(fall, layers), 2)} nats" in PROSE
    assert f"by {in_words(map(fall_beyond_brackets, layers), 2)} beyond the brackets" in PROSE
    assert (noisy["upper"] - noisy["lower"]).max() < 0.19
    assert not tanh["notes"].fillna("").str.contains("data processing").any()


def test_the_falls_of_the_variants():
    table = results("szt_variants", quantity="mutual_info")
    names = {"tanh, Parseval, alpha = 1e-3": "Parseval", "tanh, shuffled labels": "shuffled labels"}
    falls = {}
    for row, cells in printed("network").items():
        variant = table[table["variant"] == names.get(row, row)]
        falls[row] = [fall(variant[variant["layer"] == f"layer{k}"]) for k in (4, 5)]
        accuracy = variant.sort_values("epoch")["test_accuracy"].iloc[-1]
        assert cells == [*(f"{x:.2f}" for x in falls[row]), f"{accuracy:.3f}"]
    with_, without = falls["tanh, Parseval, alpha = 1e-3"], falls["tanh"]
    ratios = in_words([a / b for a, b in zip(with_, without, strict=True)], 2)
    assert f"Parseval regularisation are {ratios} of those without" in PROSE


def test_each_width_falls_otherwise():
    twin = results("deterministic_twin", network="twin", layer="layer5", quantity="binned_entropy")
    falls = [fall(rows) for _, rows in sorted(twin.groupby("bin_width"), reverse=True)]
    assert f"of layer 5 falls by {in_words(falls, 2)} nats at widths 1e-1 to 1e-4" in PROSE


def test_sample_propagation_in_ten_dimensions():
    errors = results("estimators", panel="n", d=10, estimator="SP").groupby("n")["error"].mean()
    ends = [f"{-errors[1_000]:.2f}", f"{-errors[10_000]:.3f}", f"{-errors[100_000]:.3f}"]
    assert f"from {ends[0]} with 1,000 rows to {ends[1]} with 10,000 and {ends[2]} with" in PROSE


def test_cosine_similarities_of_digits():
    noisy, other = (
        results("mnist_cnn_similarity", layer="fc", network=name).set_index("state")
        for name in ("sigma 0.05", "deterministic")
    )
    for table in (noisy, other):
        within, auc = table["within"], table["auc"]
        assert f"from {within['untrained']:.2f} to {within['trained']:.2f}" in PROSE
        assert f"AUC {auc['untrained']:.3f} to {auc['trained']:.3f}" in PROSE
    between = noisy["between"]
    assert f"from {between['untrained']:.2f} to {between['trained']:.2f} (AUC" in PROSE
    assert f"without noise to {other.loc['trained', 'between']:.2f} (AUC" in PROSE


def test_errors_of_five_networks():
    table = results("mnist_cnn", epochs=32).set_index("network")
    assert set(table["n_train"]) == {60_000}
    assert set(table["n_test"]) == {10_000}
    larger = -table.loc["sigma 0.2", "difference"]
    errors = larger / table.loc["sigma 0.2", "difference_stderr"]
    assert f"{100 * larger:.2f} fewer in a hundred than without noise, {errors:.1f} stand" in PROSE
    for name in ("sigma 0.2", "dropout 0.2"):
        assert f"{100 * table.loc[name, 'test_error']:.2f} %" in PROSE
    rows = re.findall(
        r"^\| (\S.*?) \| (\d\S*) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", PAGE, re.M
    )
    assert {row[0] for row in rows} == set(table.index)
    columns = ["test_error", "stderr", "renormalised", "renormalised_stderr", "difference",
               "difference_stderr"]  # fmt: skip
    for name, *cells in rows:
        expected = [f"{100 * table.loc[name, column]:.2f}" for column in columns]
        assert cells == (expected if name != "deterministic" else [*expected[:4], "–", "–"])


def test_the_spiral_by_number_of_rows():
    entropies = results("spiral").groupby(["n", "estimator"])["entropy"].agg(["mean", "std"])
    for n, cells in printed("rows | SP | kNN", CHOOSING).items():
        found = [entropies.loc[int(n.replace(",", "")), name] for name in ("SP", "kNN", "KDE")]
        assert cells == [f"{one['mean']:.3f} ({one['std']:.3f})" for one in found]


def test_how_many_rows_for_how_many_units():
    table = results("estimators", panel="n", n=31_623)
    errors = table.groupby(["d", "estimator"])["error"].agg(["mean", "std"])
    spread = ("SP", "kNN", "KDE")
    bins = ("bins of 0.07", "bins of 10 sigma")
    for d, cells in printed("d | SP | kNN", CHOOSING).items():
        of_d = errors.loc[int(d)]
        bounds = ", ".join(
            f"{of_d.loc[f'pairwise, {end}', 'mean']:+.3f}" for end in ("lower", "upper")
        )
        assert cells == [
            *(f"{of_d.loc[name, 'mean']:+.3f} ({of_d.loc[name, 'std']:.3f})" for name in spread),
            bounds,
            *(f"{of_d.loc[name, 'mean']:+.3f}" for name in bins),
        ]
    means = results("estimators", panel="n", d=10, estimator="SP").groupby("n")["error"].mean()
    ends = f"{-means[1_000]:.2f} with 1,000 rows to {-means[3_162]:.2f} with 3,162"
    assert f"{ends} and {-means[31_623]:.3f} with 31,623" in " ".join(CHOOSING.split())


def test_kernel_density_in_high_dimension():
    page = (DOCS / "comparison.md").read_text(encoding="utf-8")
    found = results("kernel_density").groupby("d").agg(["mean", "std"])
    for d, cells in printed("d | the same sum, directly", page).items():
        columns = ["exact", "kd_tree, the default", "ball_tree", "one leaf", "skinfo"]
        means = [f"{found.loc[int(d), (name, 'mean')]:.3f}" for name in columns]
        for k in (0, 4):
            means[k] += f" ({found.loc[int(d), (columns[k], 'std')]:.3f})"
        assert [cell.strip("*") for cell in cells] == means


def test_each_layer_of_the_sentence_transformer():
    table = results("sentence_transformer")
    assert len(table) == 14
    assert (table["probe"] - 1.96 * table["probe_stderr"] <= table["upper"]).all()
    assert (table["random_lower"] == 0).all()
    token, topic = (table[table["of"] == of].set_index("layer") for of in ("token", "topic"))
    header = f"layer | token: lower end, of {token['entropy'][0]:.2f} | AUC | topic: lower end, of"
    rows = printed(f"{header} {topic['entropy'][0]:.2f}")
    for k, cells in enumerate(rows.values()):
        assert cells == [
            f"{token['lower'][k]:.2f}", f"{token['auc'][k]:.3f}", f"{topic['lower'][k]:.2f}",
            f"{topic['auc'][k]:.3f}", f"{topic['random_plug_in'][k]:.2f}",
        ]  # fmt: skip
    assert len(rows) == 7
    rise = topic["value"][6] - topic["value"][0]
    times = rise / np.hypot(topic["stderr"][6], topic["stderr"][0])
    assert f"{rise:.2f} nats, is {times:.1f} times its standard error" in PROSE
    assert (table["probe"] - 1.96 * table["probe_stderr"] <= table["value"]).all()


def test_each_layer_of_the_pretrained_network():
    table = results("pretrained_cnn")
    assert (table["random_lower"] == 0).all()
    layers = table["layer"].unique()
    near, far = (table[table["sigma"] == sigma].set_index("layer") for sigma in (0.5, 4))
    rows = printed("layer | units | lower end, σ = 0.5 rms | lower end, σ = 4 rms")
    assert list(rows) == list(layers)
    for layer, cells in rows.items():
        assert cells == [
            f"{near['units'][layer]:,}", f"{near['lower'][layer]:.2f}",
            f"{far['lower'][layer]:.2f}", f"{near['random_plug_in'][layer]:.2f}",
            f"{near['auc'][layer]:.3f}",
        ]  # fmt: skip
    curves = results("pretrained_cnn_curves", sigma=8).set_index(["layer", "quantity"])["value"]
    first, connected = (
        [f"{curves[layer, name]:.2f}" for name in ("label_mutual_info", "mutual_info")]
        for layer in ("conv 1", "fully connected")
    )
    assert f"I(Y;T) = {first[0]} and I(X;T) = {first[1]} of 6.91 nats" in PROSE
    assert f"the fully connected layer with {connected[0]} and {connected[1]}." in PROSE
