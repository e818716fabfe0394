"""A layer says what noise it has: at every door, on disk, and in the samples that are drawn."""

import json

import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import RunError
from skinfo.runs import Layer, RunWriter, convert_run

RNG = np.random.default_rng(0)
S = RNG.uniform(0.5, 2.0, size=(4000, 2)) * [1, -1]
# Each kind with its parameters, and its T of S and Z, written out.
KINDS = [
    ("additive", 0.3, lambda z: S + 0.3 * z),
    ("additive", (0.3, 2.0), lambda z: S + np.array([0.3, 2.0]) * z),
    ("multiplicative", 0.5, lambda z: S * (1 + 0.5 * z)),
    ("lognormal", (0.5, 0.1), lambda z: S * np.exp(np.array([0.5, 0.1]) * z)),
    ("affine", (0.2, (0.1, 0.3)), lambda z: S + np.hypot(0.2, np.array([0.1, 0.3]) * S) * z),
]  # fmt: skip
NAMED = pytest.mark.parametrize(("noise", "sigma", "drawn"), KINDS)


@NAMED
def test_every_door_says_the_noise(tmp_path, noise, sigma, drawn):
    expected = (Layer("a", sigma, noise=noise), Layer("b", None, noise_before=True))
    arrays = {"a": S[:4], "b": np.ones((4, 3, 5))}
    given = {"sigma": {"a": sigma}, "noise": {"a": noise}}
    memory = open_run({1: arrays}, **given)
    assert memory.layers == expected
    save_run(tmp_path / "saved", 1, arrays, **given)
    save_run(tmp_path / "saved", 2, arrays, **given)
    save_run(tmp_path / "saved", 3, arrays)
    RunWriter(tmp_path / "written", expected).add(1, arrays)
    np.savez(tmp_path / "epoch_1.npz", **arrays)
    opened = open_run(tmp_path, format="npz", **given)
    convert_run(opened, tmp_path / "converted", format="npy")
    for name in ("saved", "written", "converted"):
        run = open_run(tmp_path / name)
        assert run.layers == expected
        assert open_run(tmp_path / name, **given).layers == expected
        needs_new = noise != "additive" or isinstance(sigma, tuple)
        assert run.schema == (2 if needs_new else 1)
        for wrong, said in [
            ({"noise": {"a": "lognormal" if noise != "lognormal" else "additive"}}, "noise"),
            ({"sigma": {"a": (7.0, 7.0)}}, "sigma"),
        ]:
            with pytest.raises(RunError, match=f"its {said} of layer 'a' differ"):
                open_run(tmp_path / name, **wrong)
    with pytest.raises(RunError, match="its layers differ"):
        save_run(tmp_path / "saved", 4, arrays, sigma={"a": 0.1234})


def test_a_run_of_schema_1_is_opened_written_on_and_stays_one(tmp_path):
    arrays = {"a": np.zeros((4, 2)), "b": np.ones((4, 2))}
    save_run(tmp_path, 1, arrays, sigma={"a": 0.1})
    record = json.loads((tmp_path / "run.json").read_text())
    layers = [
        {"name": "a", "sigma": 0.1, "noise_before": False},
        {"name": "b", "sigma": None, "noise_before": True},
    ]
    assert (record["schema"], record["layers"]) == (1, layers)
    save_run(tmp_path, 2, arrays, sigma={"a": 0.1}, noise="additive")
    assert json.loads((tmp_path / "run.json").read_text()) == record
    # What it leaves open may be said.
    run = open_run(tmp_path, sigma={"b": 0.5}, noise={"b": "multiplicative"})
    assert run.layers == (Layer("a", 0.1), Layer("b", 0.5, True, "multiplicative"))
    with pytest.raises(RunError, match="its noise of layer 'a' differ"):
        open_run(tmp_path, noise="multiplicative")


def test_what_kind_of_noise_may_be_known_without_its_size(tmp_path):
    save_run(tmp_path, 1, {"a": np.zeros((4, 2))}, noise="lognormal")
    assert open_run(tmp_path).layers == (Layer("a", None, noise="lognormal"),)
    assert open_run(tmp_path, sigma=0.5).layers == (Layer("a", 0.5, noise="lognormal"),)
    with pytest.raises(RunError, match="its noise of layer 'a' differ"):
        open_run(tmp_path, sigma=0.5, noise="additive")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"noise": "gaussian"}, "layer 'a': noise is one of 'additive', .*; got 'gaussian'"),
        ({"noise": {"c": "additive"}}, "noise names 'c', which is not a layer of a, b"),
        ({"noise": "affine", "sigma": 0.1}, r"layer 'a': noise=.affine. takes sigma=\(a, b\)"),
        ({"noise": "multiplicative", "sigma": [0.1, 0]}, "layer 'a': .*unit 1 has 0"),
        ({"noise": "lognormal", "sigma": {"a": "b"}}, "layer 'a': sigma='b' names an arr"),
        ({"sigma": {"a": [0.1, 0.2, 0.3]}}, r"'a'.* one per unit, of shape \(2,\); .*\(3,\)"),
        ({"noise": "affine", "sigma": {"a": (0.1, [1, 1, 1])}}, r"'a'.* b must.*\(2,\); .*\(3,\)"),
    ],
)  # fmt: skip
def test_noise_that_does_not_fit_is_named_at_every_door(tmp_path, given, said):
    arrays = {"a": S[:4], "b": S[:4]}
    for act in (
        lambda: save_run(tmp_path / "run", 1, arrays, **given),
        lambda: open_run({1: arrays}, **given).load(1, "a"),
        lambda: open_run({1: arrays}, **given).shape(1, "a"),
    ):
        with pytest.raises(ValueError, match=said):
            act()
    assert not (tmp_path / "run").exists()


@NAMED
def test_a_sample_is_drawn_by_the_layers_noise(noise, sigma, drawn):
    loaded = open_run({(1, "a"): S}, sigma={"a": sigma}, noise=noise).load(1, "a")
    z = np.random.default_rng([3, 1, 1, *b"a"]).standard_normal(S.shape)
    found = loaded.noisy_sample(random_state=3, draw=1).X
    np.testing.assert_allclose(found, drawn(z), rtol=1e-14, atol=1e-14)
    if noise == "additive" and sigma == 0.3:
        # To the last bit, as it was before there were other models.
        z *= sigma
        np.testing.assert_array_equal(found, S + z)


def encoder(**more):
    """Means and standard deviations as an encoder gives them, stored side by side."""
    means, deviations = RNG.normal(size=(6, 3)), RNG.uniform(0.1, 1.0, size=(6, 3))
    return {"z": means, "z_std": deviations, "decoded": np.ones((6, 4, 2))} | more


def test_standard_deviations_of_rows_are_an_array_beside_the_layer(tmp_path):
    arrays = encoder()
    save_run(tmp_path / "a", 1, arrays, sigma={"z": "z_std"}, labels=np.arange(6) % 2)
    save_run(tmp_path / "a", 2, arrays)
    convert_run(tmp_path / "a", tmp_path / "b", format="npy")
    for run in (open_run({1: arrays}, sigma={"z": "z_std"}), open_run(tmp_path / "b")):
        assert run.layers == (Layer("z", "z_std"), Layer("decoded", None, noise_before=True))
        rows = run.load(1, "z").replicas()
        np.testing.assert_array_equal(rows.scale, arrays["z_std"])
        assert run.load(1, "decoded").replicas().scale is None
        mask = np.arange(6) > 2
        kept = run.load(1, "z", subset=mask)
        np.testing.assert_array_equal(kept.replicas().scale, arrays["z_std"][mask])
        z = np.random.default_rng([0, 0, 1, *b"z"]).standard_normal((6, 3))
        expected = arrays["z"] + arrays["z_std"] * z
        np.testing.assert_allclose(run.load(1, "z").noisy_sample().X, expected, rtol=1e-15)
        np.testing.assert_allclose(kept.noisy_sample().X, expected[mask], rtol=1e-15)
    assert open_run(tmp_path / "b").epochs == [1, 2]
    assert open_run(tmp_path / "b").schema == 2


@pytest.mark.parametrize(
    ("deviations", "said"),
    [
        (np.ones((6, 2)), r"layer 'z': has shape \(6, 3\), and its .*'z_std' have \(6, 2\)"),
        (np.ones((5, 3)), r"layer 'z': has shape \(6, 3\), and its .*'z_std' have \(5, 3\)"),
        (1 - np.eye(6, 3), "layer 'z_std': scale must be .*row 0, unit 0 has 0"),
        (np.full((6, 3), np.nan), "layer 'z_std': scale must be .*row 0, unit 0 has nan"),
        (None, "layer 'z_std'.*no such layer"),
    ],
)  # fmt: skip
def test_standard_deviations_that_do_not_fit_are_named(tmp_path, deviations, said):
    arrays = {name: a for name, a in encoder(z_std=deviations).items() if a is not None}
    run = open_run({1: arrays}, sigma={"z": "z_std"})
    with pytest.raises(RunError, match=said):
        run.load(1, "z")
    if np.shape(deviations) != (6, 3):
        with pytest.raises(RunError, match="z_std"):
            save_run(tmp_path / "run", 1, arrays, sigma={"z": "z_std"})
        assert not (tmp_path / "run").exists()


def test_maps_keep_a_standard_deviation_of_each_value_alone():
    maps = {"conv": RNG.normal(size=(4, 2, 3, 3)), "std": RNG.uniform(0.1, 1, size=(4, 2, 3, 3))}
    run = open_run({1: maps}, sigma={"conv": "std"}, flatten="all")
    np.testing.assert_array_equal(run.load(1, "conv").replicas().scale, maps["std"].reshape(4, 18))
    run = open_run({1: maps}, sigma={"conv": "std"}, flatten="channel_mean")
    with pytest.raises(RunError, match="layer 'conv': .*'std' for each value.*only 'all'"):
        run.load(1, "conv")


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((6, 3, 4, 5), {"flatten": "all", "channels": "last"}),
        ((6, 3, 4, 5), {"flatten": "all", "axes": "hwnc"}),
        ((2, 6, 3), {"axes": {"z": "rnc", "spread": "rnc"}}),
        ((3, 6), {"axes": "cn"}),
    ],
)
def test_stored_deviations_stay_with_their_values_however_a_layer_is_flattened(shape, options):
    Z = np.random.default_rng(0).normal(size=shape)
    if isinstance(options.get("axes"), dict):
        options = {"axes": {"z": "rnc"}}
    run = open_run({(1, "z"): Z, (1, "spread"): np.abs(Z)}, sigma={"z": "spread"}, **options)
    rows = run.load(1, "z").replicas()
    np.testing.assert_array_equal(rows.scale, np.abs(rows.X))


def test_an_array_of_deviations_has_no_sigma_of_its_own():
    arrays = {(1, name): np.ones((4, 2)) for name in "ab"}
    for sigma in ({"a": "a"}, {"a": "b", "b": 0.1}):
        with pytest.raises(ValueError, match="standard deviations of another layer"):
            open_run(arrays, sigma=sigma)


def test_noise_that_is_no_name_is_said_so():
    with pytest.raises(ValueError, match="noise is one of"):
        open_run({(1, "a"): np.ones((4, 2))}, sigma=0.1, noise=["multiplicative"])
