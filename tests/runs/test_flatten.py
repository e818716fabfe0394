"""Maps and sequences become rows of units as the reader is told, and never silently."""

import numpy as np
import pytest
from sklearn.base import clone

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    information_flow,
    open_run,
    save_run,
)
from skinfo.errors import RunError
from skinfo.runs import Layer, LayerActivations

LABELS = np.array([5, 7, 7, 5])
RNG = np.random.default_rng(0)
MAPS = RNG.standard_normal((4, 3, 2, 5))
TOKENS = RNG.standard_normal((4, 6, 3))


def read(array, *, sigma=None, **options):
    """The array of a run of one layer, flattened."""
    return open_run({(1, "a"): array}, labels=LABELS, sigma=sigma, **options).load(1, "a").array


# Maps


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("all", MAPS.reshape(4, 30)),
        ("channel_mean", MAPS.mean((2, 3))),
        ("spatial", MAPS.mean(1).reshape(4, 10)),
        (lambda rows: rows.max((2, 3)), MAPS.max((2, 3))),
    ],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_maps_are_flattened_as_chosen(choice, expected, by_name):
    found = read(MAPS, flatten={"a": choice} if by_name else choice)
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("choice", ["all", "channel_mean", "spatial"])
def test_channels_may_come_last(choice):
    last = np.moveaxis(MAPS, 1, -1)
    first = read(MAPS, flatten=choice)
    np.testing.assert_array_equal(read(last, flatten=choice, channels="last"), first)
    np.testing.assert_array_equal(read(last, flatten=choice, axes="nhwc"), first)
    np.testing.assert_array_equal(read(last, flatten=choice, axes={"a": "nhwc"}), first)


@pytest.mark.parametrize("choice", ["all", "channel_mean", "spatial", lambda rows: rows[..., 0, 0]])
def test_replicas_of_maps_are_flattened_one_by_one(choice):
    replicas = RNG.standard_normal((4, 7, 3, 2, 5))
    found = read(replicas, flatten=choice, axes="nrchw")
    for k in range(7):
        one = read(replicas[:, k], flatten=choice)
        np.testing.assert_allclose(found[:, k], one, rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("shape", [(4, 3, 2, 5), (4, 7, 3, 2, 5)])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_no_choice_is_an_error_that_shows_the_choices(shape, channels):
    c, h, w = (3, 2, 5) if channels == "first" else (5, 3, 2)
    with pytest.raises(RunError) as caught:
        read(np.zeros(shape), channels=channels)
    message = str(caught.value)
    assert message.startswith("memory, epoch 1, layer 'a': holds ")
    assert f"holds {c} channels of {h} x {w} per input" in message
    for choice in (f"'all' ({c * h * w} units)", f"'channel_mean' ({c} units)",
                   f"'spatial' ({h * w} units)", "a callable"):  # fmt: skip
        assert choice in message
    assert "\n" not in message


def test_rows_and_replicas_are_left_alone():
    rows, replicas = np.zeros((4, 3)), RNG.standard_normal((4, 2, 3))
    for choice in ("all", "channel_mean", "spatial"):
        run = open_run({(1, "a"): rows, (1, "b"): replicas}, sigma=0.1, flatten=choice)
        assert run.load(1, "a").array.shape == (4, 3)
        np.testing.assert_array_equal(run.load(1, "b").array, replicas)


def test_a_choice_for_one_layer_says_what_three_axes_are():
    line = RNG.standard_normal((4, 3, 6))
    for choice, expected in (
        ("all", line.reshape(4, 18)),
        ("channel_mean", line.mean(2)),
        ("spatial", line.mean(1)),
        (lambda rows: rows[:, 0], line[:, 0]),
    ):
        np.testing.assert_allclose(read(line, flatten={"a": choice}), expected, rtol=1e-15)
    last = read(line, flatten={"a": "channel_mean"}, channels="last")
    np.testing.assert_allclose(last, line.mean(1), rtol=1e-15)


def test_axes_say_what_no_rule_can():
    solid = RNG.standard_normal((4, 3, 2, 5, 2))
    np.testing.assert_allclose(
        read(solid, axes="nchwd", flatten="channel_mean"), solid.mean((2, 3, 4)), rtol=1e-14
    )
    grey = RNG.standard_normal((4, 5, 6))
    assert read(grey, axes="nhw", flatten="all").shape == (4, 30)
    np.testing.assert_allclose(read(grey, axes="nhw", flatten="spatial"), grey.reshape(4, 30))
    assert read(RNG.standard_normal((4, 2, 3)), axes="nrc").shape == (4, 2, 3)
    assert read(RNG.standard_normal((3, 4)), axes="cn").shape == (4, 3)
    with pytest.raises(RunError, match="has 6 axes, whose meaning is not known"):
        read(np.zeros((4, 1, 1, 1, 1, 1)), flatten="all")
    with pytest.raises(RunError, match="has 4 axes, where axes='nrc' names 3"):
        read(MAPS, axes="nrc")


@pytest.mark.parametrize(
    ("returned", "shape"),
    [(lambda rows: rows, (4, 3, 2, 5)), (lambda rows: rows[:2, 0, 0], (2, 5)), (np.sum, ())],
)
def test_a_callable_that_returns_no_rows_is_an_error(returned, shape):
    with pytest.raises(RunError) as caught:
        read(MAPS, flatten=returned)
    assert "epoch 1, layer 'a': the callable returned shape" in str(caught.value)
    assert f"{shape} for 4 rows" in str(caught.value)


def test_a_callable_that_fails_is_an_error_of_the_layer():
    def fails(_):
        raise IndexError("no such channel")

    with pytest.raises(RunError, match="epoch 1, layer 'a': the callable.* IndexError: no such"):
        read(MAPS, flatten=fails)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flatten": "mean"}, "flatten must be one of all, channel_mean.*'mean'"),
        ({"flatten": True}, "flatten must be one of"),
        ({"flatten": 1.5}, "flatten must be one of"),
        ({"flatten": {"a": "mean"}}, "flatten must be one of"),
        ({"flatten": {"b": "all"}}, "flatten names 'b', which is not a layer of a"),
        ({"axes": {"b": "nc"}}, "axes names 'b', which is not a layer of a"),
        ({"channels": "middle"}, "channels must be 'first' or 'last'"),
        ({"axes": "nxy"}, "axes names each axis once"),
        ({"axes": "nn"}, "axes names each axis once"),
        ({"axes": "rc"}, "axes names each axis once"),
    ],
)
def test_a_choice_that_is_none_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        read(MAPS, **options)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("int8", "float64")],
)
def test_means_are_summed_in_double(dtype, expected):
    maps = np.full((4, 1, 100, 100), 100, dtype)
    found = read(maps, flatten="channel_mean")
    assert found.dtype == expected
    assert (found == 100).all()


def test_nan_in_a_map_is_still_seen():
    maps = MAPS.copy()
    maps[2, 1, 0, 0] = np.nan
    for choice, place in (("all", (2, 10)), ("channel_mean", (2, 1))):
        with pytest.raises(RunError) as caught:
            read(maps, flatten=choice)
        assert f"holds NaN or infinity, first at {place}" in str(caught.value)
    maps[2, 1, :, :2] = [[np.inf, -np.inf]] * 2
    with pytest.raises(RunError, match="holds NaN or infinity"):
        read(maps, flatten="channel_mean")


# Tokens


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("token_mean", TOKENS.mean(1)),
        ("token_last", TOKENS[:, -1]),
        (0, TOKENS[:, 0]),
        (-2, TOKENS[:, 4]),
        ("tokens", TOKENS.reshape(24, 3)),
    ],
)
@pytest.mark.parametrize("by_name", [True, False])
def test_tokens_are_pooled_as_chosen(choice, expected, by_name):
    options = {"flatten": {"a": choice} if by_name else choice}
    np.testing.assert_allclose(read(TOKENS, **options), expected, rtol=1e-14)
    np.testing.assert_allclose(
        read(TOKENS.transpose(1, 0, 2), axes="tnc", **options), expected, rtol=1e-14
    )


def test_a_token_that_is_not_there_is_an_error():
    with pytest.raises(RunError, match="layer 'a': has 6 tokens per input, and none of number 6"):
        read(TOKENS, flatten=6)
    with pytest.raises(RunError, match="has 6 tokens per input; choose flatten='token_mean'"):
        read(TOKENS, axes="ntc")
    with pytest.raises(RunError, match="tokens and space need"):
        read(MAPS, axes="ntch", flatten="token_mean")


def test_pooled_sequences_are_inputs():
    rows = open_run({(1, "a"): TOKENS}, labels=LABELS, flatten="token_mean").load(1, "a").replicas()
    assert rows.groups is None
    np.testing.assert_array_equal(rows.y, LABELS)


def test_each_token_may_be_an_input_of_its_own():
    run = open_run({(1, "a"): TOKENS, (1, "b"): TOKENS[:, 0]}, labels=LABELS, train=[1, 3],
                   flatten={"a": "tokens"})  # fmt: skip
    for rows_of in (LayerActivations.replicas, LayerActivations.noisy_sample):
        rows = rows_of(run.load(1, "a"))
        np.testing.assert_array_equal(rows.X, TOKENS.reshape(24, 3))
        np.testing.assert_array_equal(rows.y, LABELS.repeat(6))
        assert rows.groups is None
        kept = rows_of(run.load(1, "a", subset=run.train))
        np.testing.assert_array_equal(kept.X, TOKENS[[1, 3]].reshape(12, 3))
        np.testing.assert_array_equal(kept.y, LABELS[[1, 3]].repeat(6))
        np.testing.assert_array_equal(rows_of(run.load(1, "b")).y, LABELS)
    assert run.shape(1, "a") == (24, 3)
    unlabelled = open_run({(1, "a"): TOKENS}, flatten="tokens")
    mask = np.array([True, False, False, True])
    assert len(unlabelled.load(1, "a", subset=mask).replicas().X) == 12
    assert unlabelled.load(1, "a").replicas().y is None


def test_replicas_of_tokens_are_replicas_of_each_token():
    replicas = RNG.standard_normal((4, 2, 6, 3))
    run = open_run({(1, "a"): replicas}, labels=LABELS, axes="nrtc", flatten="tokens")
    assert run.shape(1, "a") == run.load(1, "a").array.shape == (24, 2, 3)
    rows = run.load(1, "a").replicas()
    np.testing.assert_array_equal(rows.clusters, np.repeat(np.arange(4), 12))
    for row in (0, 1, 2, 30, 47):
        token = row // 2
        np.testing.assert_array_equal(rows.X[row], replicas[token // 6, row % 2, token % 6])
        assert rows.groups[row] == token
        assert rows.y[row] == LABELS[token // 6]
    pooled = open_run({(1, "a"): replicas}, axes="nrtc", flatten="token_mean")
    np.testing.assert_allclose(pooled.load(1, "a").array, replicas.mean(2), rtol=1e-14)


def test_rows_of_groups_have_tokens_too():
    groups = np.array([1, 0, 1, 2, 3, 2])
    S = RNG.standard_normal((6, 5, 2))
    run = open_run({(1, "a"): S}, labels=LABELS, groups=groups, sigma=0.1, flatten="tokens")
    rows = run.load(1, "a").replicas()
    np.testing.assert_array_equal(rows.X, S.reshape(30, 2))
    np.testing.assert_array_equal(rows.groups, (groups[:, None] * 5 + np.arange(5)).ravel())
    np.testing.assert_array_equal(rows.y, LABELS[groups].repeat(5))
    np.testing.assert_array_equal(rows.clusters, groups.repeat(5))


def test_a_flow_of_a_population_takes_sequences_for_what_was_drawn():
    """Labels of 40 sequences at random, 20 tokens each that hardly differ."""
    rng = np.random.default_rng(0)
    sequences, y = np.repeat(np.arange(40), 20), rng.integers(2, size=40)
    S = rng.normal(size=(40, 1, 3)) + 0.02 * rng.normal(size=(40, 20, 3))
    run = open_run({(1, "a"): S}, labels=y, sigma=0.5, flatten="tokens")
    estimator = NoisyMIEstimator(0.5, population=True, random_state=0)
    found = information_flow(estimator, run, progress=False).set_index("quantity")
    rows = S.reshape(-1, 3), y[sequences]
    alone, together = clone(estimator).fit(*rows), clone(estimator).fit(*rows, clusters=sequences)
    assert alone.label_bracket_[0] > 0 == together.label_bracket_[0]
    ends = found.loc["label_mutual_info", ["lower", "upper"]]
    assert tuple(ends) == together.label_bracket_
    # Whoever takes no clusters is given none.
    clustered = information_flow(ClusteringScore(), run, progress=False)
    assert clustered["value"].notna().any()


# What looks like replicas


def test_different_replicas_without_noise_are_not_believed():
    with pytest.raises(RunError) as caught:
        read(TOKENS)
    message = str(caught.value)
    assert "epoch 1, layer 'a': has shape (4, 6, 3), which is taken as (inputs, repl" in message
    for choice in ("'token_mean'", "'token_last'", "'tokens'", "sigma", "axes={'a': 'nrc'}"):
        assert choice in message
    assert "\n" not in message
    for zero in (0, 0.0, {"a": 0}):
        with pytest.raises(RunError, match="replicas of an input differ"):
            read(TOKENS, sigma=zero)


def test_replicas_are_believed_where_there_is_noise_before_or_none_differ():
    same = np.repeat(TOKENS[:, :1], 6, axis=1)
    assert read(same).shape == (4, 6, 3)
    # A layer's own noise is added to what is stored: it makes no replicas.
    with pytest.raises(RunError, match="no noise is on record before this layer"):
        read(TOKENS, sigma=0.1)
    # Nor do four or five axes make any: heads of attention, or space in three dimensions.
    for shape, choice in (((4, 3, 6, 2), "token_mean"), ((4, 3, 2, 5, 2), "all")):
        with pytest.raises(RunError, match="no noise is on record before this layer"):
            read(RNG.standard_normal(shape), sigma=0.1, flatten=choice)
    assert read(TOKENS, axes="nrc").shape == (4, 6, 3)
    run = open_run({(1, "a"): TOKENS[:, 0], (1, "b"): TOKENS}, sigma={"a": 0.1})
    assert run.layers[1] == Layer("b", None, True)
    assert run.load(1, "b").array.shape == (4, 6, 3)


# The whole way


@pytest.mark.parametrize("fmt", ["npz", "hdf5", "zarr"])
def test_maps_are_stored_as_they_are_and_measured_as_chosen(tmp_path, fmt):
    if fmt != "npz":
        pytest.importorskip("h5py" if fmt == "hdf5" else "zarr")
    maps = {epoch: RNG.standard_normal((4, 3, 2, 5)) for epoch in (1, 2)}
    for epoch, array in maps.items():
        save_run(tmp_path / "run", epoch, {"conv": array}, labels=LABELS, sigma=0.5, format=fmt)
    run = open_run(tmp_path / "run", flatten="channel_mean")
    assert run.shape(2, "conv") == (4, 3)
    assert run.nbytes(2, "conv") == 8 * (4 * 30 + 4 * 3)
    estimators = {"noisy": NoisyMIEstimator(None, tol=0.1, random_state=0),
                  "binned": BinningMIEstimator(bin_width=0.5)}  # fmt: skip
    flow = information_flow(estimators, run, progress=False)
    for epoch, array in maps.items():
        pooled = array.mean((2, 3))
        expected = NoisyMIEstimator(0.5, tol=0.1, random_state=0).fit(pooled, LABELS)
        value = flow.query(f"epoch == {epoch} and quantity == 'mutual_info' and "
                           "estimator == 'noisy'")["value"].item()  # fmt: skip
        assert value == pytest.approx(expected.mutual_info_, abs=1e-12)
    with pytest.raises(RunError, match="epoch 1, layer 'conv': .*flatten='all'"):
        information_flow(estimators, open_run(tmp_path / "run"), progress=False)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_mapped_and_narrow_arrays_are_measured(tmp_path, dtype):
    S = RNG.standard_normal((50, 3)).astype(dtype)
    save_run(tmp_path / "run", 1, {"a": S}, sigma=0.5, format="npy")
    run = open_run(tmp_path / "run")
    assert not run.load(1, "a").array.flags.writeable
    found = information_flow(NoisyMIEstimator(None, tol=0.1, random_state=0), run, progress=False)
    whole = open_run({(1, "a"): S}, sigma=0.5)
    expected = information_flow(
        NoisyMIEstimator(None, tol=0.1, random_state=0), whole, progress=False
    )
    assert found.equals(expected)


def test_a_callable_for_all_layers_is_never_left_out():
    run = open_run({(1, "a"): TOKENS, (1, "b"): TOKENS}, labels=LABELS, sigma=0.1,
                   flatten=lambda rows: rows[:, 0])  # fmt: skip
    np.testing.assert_array_equal(run.load(1, "a").array, TOKENS[:, 0])
    assert run.shape(1, "a") == (4, 3)
    # Behind noise the second axis may be replicas.
    with pytest.raises(RunError, match="layer 'b': has three axes.* noise before it.*Name the lay"):
        run.load(1, "b")
    named = open_run({(1, "a"): TOKENS}, flatten={"a": lambda rows: rows[:, :, 0]})
    np.testing.assert_array_equal(named.load(1, "a").array, TOKENS[:, :, 0])


@pytest.mark.parametrize("options", [{}, {"sigma": 0.1}, {"sigma": {"a": 0.0}}])
def test_tokens_without_a_choice_end_a_sweep_before_it_begins(options):
    run = open_run({(e, "a"): TOKENS * e for e in (1, 2)}, labels=LABELS, **options)
    with pytest.raises(ValueError, match="the replicas of an input differ"):
        information_flow(BinningMIEstimator(bin_width=0.1), run)
    # One checkpoint of zeros cannot tell replicas from tokens.
    some = open_run({(1, "a"): TOKENS * 0, (2, "a"): TOKENS}, labels=LABELS)
    with pytest.warns(UserWarning, match="epoch 2, layer 'a'.*the replicas of an input differ"):
        information_flow(BinningMIEstimator(bin_width=0.1), some)
