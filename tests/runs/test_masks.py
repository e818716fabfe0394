"""Sequences with padding: only their real tokens become rows, and are pooled."""

import numpy as np
import pytest

from skinfo import open_run
from skinfo.errors import RunError

RNG = np.random.default_rng(0)
# Padding on the right, none, on the left, on both sides.
MASK = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 1], [0, 1, 1, 1, 0]], dtype=bool)
TOKENS = RNG.standard_normal((4, 5, 3))
TOKENS[~MASK] = np.nan
TOPICS, WORDS = np.array([5, 7, 7, 5]), np.arange(20).reshape(4, 5) % 3
REAL = [(i, k) for i in range(4) for k in range(5) if MASK[i, k]]


def load(array=TOKENS, *, subset=None, mask=MASK, **options):
    return open_run({(1, "a"): array}, mask=mask, **options).load(1, "a", subset=subset)


@pytest.mark.parametrize("axes", ["ntc", "tnc"])
def test_rows_are_the_real_tokens(axes):
    array = TOKENS if axes == "ntc" else TOKENS.transpose(1, 0, 2)
    loaded = load(array, flatten="tokens", axes=axes, labels={"topic": TOPICS, "word": WORDS})
    for rows in (loaded.replicas(), loaded.noisy_sample()):
        assert rows.X.tolist() == [TOKENS[i, k].tolist() for i, k in REAL]
        assert rows.clusters.tolist() == [i for i, _ in REAL]
        assert rows.label_sets["topic"].tolist() == [TOPICS[i] for i, _ in REAL]
        assert rows.label_sets["word"].tolist() == [WORDS[i, k] for i, k in REAL]
        assert rows.groups is None
    assert loaded.inputs.tolist() == [5 * i + k for i, k in REAL]
    run = open_run({(1, "a"): array}, mask=MASK, flatten="tokens", axes=axes)
    assert run.shape(1, "a") == (len(REAL), 3)


def test_a_subset_is_of_sequences_and_noise_stays_that_of_each_token():
    chosen = np.array([True, False, True, False])
    options = {"flatten": "tokens", "sigma": 0.3, "labels": TOPICS}
    every, some = load(**options), load(**options, subset=chosen)
    kept = np.array([chosen[i] for i, _ in REAL])
    assert some.replicas().clusters.tolist() == [i for i, _ in REAL if chosen[i]]
    np.testing.assert_array_equal(some.noisy_sample().X, every.noisy_sample().X[kept])
    assert some.noisy_sample().y.tolist() == [TOPICS[i] for i, _ in REAL if chosen[i]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("axes", ["ntc", "tnc"])
def test_pooling_is_over_real_tokens(axes, dtype):
    array = TOKENS.astype(dtype)
    means = [np.mean([array[i, k] for k in range(5) if MASK[i, k]], axis=0) for i in range(4)]
    lasts = [array[i, max(k for k in range(5) if MASK[i, k])] for i in range(4)]
    stored = array if axes == "ntc" else array.transpose(1, 0, 2)
    mean = load(stored, axes=axes, flatten="token_mean").array
    np.testing.assert_allclose(mean, means, rtol=1e-6 if dtype == np.float32 else 1e-14)
    np.testing.assert_array_equal(load(stored, axes=axes, flatten="token_last").array, lasts)
    largest = load(stored, axes=axes, flatten=lambda a: np.nanmax(a, axis=1)).array
    np.testing.assert_array_equal(largest, np.nanmax(array, axis=1))


def test_replicas_and_groups_of_masked_sequences():
    replicas = np.stack([TOKENS, TOKENS + 1], axis=1)
    loaded = load(replicas, axes="nrtc", flatten="tokens")
    by_hand = [replicas[i, r, k] for i, k in REAL for r in range(2)]
    np.testing.assert_array_equal(loaded.replicas().X, by_hand)
    assert loaded.replicas().groups.tolist() == [5 * i + k for i, k in REAL for _ in range(2)]
    means = load(replicas, axes="nrtc", flatten="token_mean").array
    np.testing.assert_allclose(means, np.nanmean(replicas, axis=2))
    groups = np.array([2, 0, 2, 1, 3])
    grouped = load(TOKENS[groups], groups=groups, flatten="tokens").replicas()
    by_hand = [(i, k) for i in groups for k in range(5) if MASK[i, k]]
    np.testing.assert_array_equal(grouped.X, [TOKENS[i, k] for i, k in by_hand])
    assert grouped.groups.tolist() == [5 * i + k for i, k in by_hand]
    assert grouped.clusters.tolist() == [i for i, _ in by_hand]


def test_a_number_is_a_place_in_the_array_that_no_padding_may_take():
    with pytest.raises(RunError, match=r"token 0 is padding in 2 of 4 seq.*first of them number 2"):
        load(flatten=0)
    with pytest.raises(
        RunError, match=r"token -1 is padding in 2 of 4 seq.*first of them number 0"
    ):
        load(flatten=-1)
    full = load(TOKENS[:2], mask=MASK[:2], flatten=1)
    np.testing.assert_array_equal(full.array, TOKENS[:2, 1])


def test_masked_tokens_are_never_counted_silently():
    with pytest.raises(RunError, match="some are padding, and flatten='all' would make units of"):
        load(flatten={"a": "all"}, axes="ntc")
    for options in ({}, {"flatten": {"a": "all"}}, {"flatten": {"a": "spatial"}}):
        with pytest.raises(RunError, match=r"its last axis but one may be tokens.*'token_mean'"):
            load(**options)
    with pytest.raises(RunError, match="its last axis but one may be tokens"):
        load(np.stack([TOKENS] * 2, axis=1), flatten="all")
    with pytest.raises(RunError, match=r"holds NaN .*padding is NaN in what it is given"):
        load(flatten=lambda array: array.max(axis=1))
    everything = load(np.ones((4, 5, 3)), mask=np.ones((4, 5)), flatten={"a": "all"}, axes="ntc")
    assert everything.array.shape == (4, 15)


def test_what_is_not_finite_among_real_tokens_is_named():
    array = TOKENS.copy()
    array[2, 4, 1] = np.inf
    with pytest.raises(RunError, match="NaN or infinity.*real token 4 of row 2"):
        load(array, flatten="tokens")
    with pytest.raises(RunError, match=r"NaN or infinity, first at \(2, 1\)"):
        load(array, flatten="token_mean")
    whole = np.zeros((4, 5, 3), dtype=np.int64)
    whole[~MASK] = 2**60
    assert not load(whole, flatten="token_mean").array.any()
    whole[1] = 2**60
    with pytest.raises(RunError, match=r"whole numbers beyond 2\^53"):
        load(whole, flatten="token_mean")


def test_layers_without_tokens_have_none_masked():
    arrays = {(1, "a"): TOKENS, (1, "pooled"): np.zeros((4, 2)), (1, "maps"): np.zeros((4, 3, 2))}
    run = open_run(arrays, mask=MASK, flatten={"a": "tokens", "maps": "all"})
    assert run.load(1, "pooled").array.shape == (4, 2)
    assert run.load(1, "maps").array.shape == (4, 6)


def test_a_layer_of_other_tokens_is_an_error_with_both_numbers():
    arrays = {(1, "a"): TOKENS, (1, "b"): TOKENS[:, :4]}
    run = open_run(arrays, mask=MASK, flatten="token_last")
    with pytest.raises(RunError, match="layer 'b': has 4 tokens per input, and the mask .* has 5"):
        run.load(1, "b")
    with pytest.raises(RunError, match="layer 'b': has 4 tokens per input, and the mask .* has 5"):
        run.shape(1, "b")
    labelled = open_run(arrays, labels={"word": WORDS}, axes="ntc", flatten="tokens")
    with pytest.raises(RunError, match="has 4 tokens per input, and the labels 'word' .* 5 tokens"):
        labelled.load(1, "b")


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.ones(4), r"mask must hold True or 1 .*shape \(n_inputs, n_tokens\); got.*\(4,\)"),
        (2 * np.ones((4, 5)), "mask must hold True or 1 .* and False or 0 for padding; got 2"),
        (np.full((4, 5), np.nan), "False or 0 for padding; got nan"),
        (np.full((4, 5), "x"), "False or 0 for padding; got <U1"),
        (MASK & (np.arange(4) != 2)[:, None], "no real token in 1 of 4 sequences, .* number 2"),
        (MASK[:3], r"3 masks, one per input, for 4 rows of shape \(4, 5, 3\)"),
        (MASK[:, :4], r"the mask is of 4 tokens, which no layer has.*\(4, 5, 3\)"),
    ],
)  # fmt: skip
def test_a_mask_that_is_none_is_refused(mask, said):
    with pytest.raises(RunError, match=said):
        open_run({(1, "a"): TOKENS}, mask=mask)


def test_numbers_as_tokenisers_give_them_are_a_mask():
    for dtype in (np.int64, np.uint8, np.float32):
        run = open_run({(1, "a"): TOKENS}, mask=MASK.astype(dtype).tolist())
        assert run.mask.dtype == bool
        np.testing.assert_array_equal(run.mask, MASK)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"topic": TOPICS[:3]}, r"different numbers of inputs: labels-topic 3, mask 4"),
        ({"word": WORDS[:, :4]}, r"labels-word of tokens have shape \(4, 4\), and the mask \(4, 5"),
        (np.eye(4, 5)[[0, 1, 1, 4 - 1]], "of one-hot labels take"),
        ({"a\0": TOPICS}, "is no name of a set of labels"),
        ({"word": np.where(MASK, np.nan, 1)}, "labels-word contains NaN"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_the_mask_are_refused(labels, said):
    with pytest.raises(RunError, match=said):
        open_run({(1, "a"): TOKENS}, mask=MASK, labels=labels)


@pytest.mark.parametrize(
    "words",
    [np.where(MASK, WORDS, np.nan), np.where(MASK, WORDS, -100),
     np.where(MASK, WORDS.astype(str).astype(object), None)],
    ids=["nan", "number", "none"],
)  # fmt: skip
def test_labels_of_masked_tokens_do_not_count(words):
    rows = load(labels={"word": words.tolist()}, flatten="tokens").replicas()
    assert rows.y.tolist() == [words[i, k] for i, k in REAL]


def test_labels_of_tokens_need_no_mask():
    rows = load(np.ones((4, 5, 3)), mask=None, labels=WORDS, flatten="tokens").replicas()
    np.testing.assert_array_equal(rows.y, WORDS.ravel())
    pooled = load(np.ones((4, 5, 3)), mask=None, labels=WORDS, flatten="token_mean").replicas()
    assert pooled.y is None
    with pytest.raises(RunError, match=r"labels are of 5 tokens, which no layer has.*one-hot"):
        open_run({(1, "a"): np.zeros((4, 2))}, labels=WORDS)


def test_a_set_of_labels_is_chosen_by_its_name(tmp_path):
    from skinfo import save_run

    sets = {"topic": TOPICS, "word": WORDS}
    save_run(tmp_path / "run", 1, {"a": TOKENS}, mask=MASK, labels=sets)
    run = open_run(tmp_path / "run", labels="word", flatten="tokens")
    assert list(run.load(1, "a").replicas().label_sets) == ["word"]
    with pytest.raises(RunError, match="has no set of labels 'words'; it has 'topic', 'word'"):
        open_run(tmp_path / "run", labels="words")
    more = open_run(tmp_path / "run", labels={"parity": TOPICS % 2})
    assert list(more.labels) == ["topic", "word", "parity"]
    with pytest.raises(RunError, match="its labels-topic differ"):
        open_run(tmp_path / "run", labels={"topic": TOPICS + 1})
    with pytest.raises(RunError, match="its labels differ"):
        open_run(tmp_path / "run", labels=TOPICS)
