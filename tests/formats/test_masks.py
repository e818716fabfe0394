"""Masks and sets of labels in every format: kept with the run, converted, and missed if damaged."""

import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import RunError
from skinfo.runs import RunWriter, convert_run

from .stored import nothing_else

h5py = pytest.importorskip("h5py")
pytest.importorskip("zarr")
pytest.importorskip("safetensors.numpy")

MASK = np.array([[True, True, False], [True, True, True], [False, True, True]])
SETS = {"topic": np.array(["a", "b", "a"]), "a word/2": np.arange(9).reshape(3, 3) * MASK}
TOKENS = np.where(MASK[:, :, None], np.arange(18.0).reshape(3, 3, 2), np.nan)


@pytest.fixture
def masked(fmt, path):
    save_run(path, 1, {"a": TOKENS}, labels=SETS, mask=MASK.astype(int), format=fmt)
    save_run(path, 2, {"a": TOKENS + 1}, labels=SETS, mask=MASK)
    return path


def check(run):
    assert run.mask.dtype == bool
    np.testing.assert_array_equal(run.mask, MASK)
    assert list(run.labels) == list(SETS)
    for name, labels in SETS.items():
        np.testing.assert_array_equal(run.labels[name], labels)
    np.testing.assert_array_equal(run.load(2, "a").array, (TOKENS + 1)[MASK])


@pytest.mark.parametrize("target", ["npz", "hdf5"])
def test_masks_and_sets_of_labels_are_kept_and_converted(masked, target):
    check(open_run(masked, flatten="tokens"))
    convert_run(masked, masked.with_name("other"), format=target)
    check(open_run(masked.with_name("other"), flatten="tokens"))


def test_a_run_goes_on_with_the_same_mask_alone(masked):
    for change in (
        {"mask": MASK[:, ::-1]}, {"labels": SETS["topic"]}, {"labels": {"topic": SETS["topic"]}},
    ):  # fmt: skip
        with pytest.raises(RunError, match=f"another run exists already: its {next(iter(change))}"):
            save_run(masked, 3, {"a": TOKENS}, **change)
    with pytest.raises(RunError, match="its mask differ"):
        open_run(masked, mask=~MASK | MASK)
    RunWriter(masked, ["a"], labels=SETS, mask=MASK).add(3, {"a": TOKENS})
    assert open_run(masked).epochs == [1, 2, 3]


@pytest.mark.parametrize("fmt", ["npz"], indirect=True)
@pytest.mark.parametrize("name", ["mask", "labels-topic", "labels-a word%2F2"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "words", "objects", "shape"])
def test_a_damaged_mask_or_set_of_labels_is_named(masked, name, damage):
    file = masked / f"{name}.npy"
    raw = file.read_bytes()
    content = {"cut": raw[:-2], "empty": b"", "words": b"nonsense"}.get(damage)
    if content is not None:
        file.write_bytes(content)
    elif damage == "missing":
        file.unlink()
    else:
        array = np.array([None, 1]) if damage == "objects" else np.ones((2, 3), dtype=int)
        np.save(file, array, allow_pickle=True)
    for use in (open_run, lambda path: save_run(path, 3, {"a": TOKENS})):
        with pytest.raises(RunError) as caught:
            use(masked)
        said = str(caught.value)
        assert "\n" not in said
        if damage == "shape":
            # Of those that do not fit together either may be the one that is wrong.
            assert str(masked) in said
            assert "(2, 3)" in said or "different numbers of inputs" in said
        else:
            assert str(file) in said
            words = {"missing": "is missing", "objects": "Python objects, which are never loaded"}
            assert words.get(damage, "damaged or cut short") in said
    assert not (masked / "epoch_00000003.npz").exists()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": TOKENS[:, :2]}, r"mask is of 3 tokens, which no layer has.* \(3, 2, 2\)"),
        ({"a": TOKENS[:2]}, r"layer 'a': 3 labels, one per input, for 2 rows of shape \(2, 3, 2\)"),
    ],
)
def test_arrays_that_do_not_fit_a_mask_begin_no_run(fmt, path, arrays, said):
    with pytest.raises(RunError, match=said):
        save_run(path, 1, arrays, labels=SETS, mask=MASK, format=fmt)
    assert not path.exists()
    save_run(path, 1, {"a": TOKENS}, labels=SETS, mask=MASK, format=fmt)
    with pytest.raises(RunError, match=said):
        save_run(path, 2, arrays)
    assert open_run(path).epochs == [1]
    assert nothing_else(path)


def test_others_may_put_a_mask_beside_their_arrays(tmp_path):
    for epoch in (1, 2):
        np.savez(tmp_path / f"epoch_{epoch}.npz", a=TOKENS + epoch - 1)
    np.save(tmp_path / "mask.npy", MASK)
    np.save(tmp_path / "labels.npy", np.where(MASK, 1.0, np.nan))
    run = open_run(tmp_path, flatten="tokens")
    np.testing.assert_array_equal(run.load(2, "a").array, (TOKENS + 1)[MASK])
    assert run.load(2, "a").replicas().y.tolist() == [1.0] * 7
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["1/a"], file["mask"] = TOKENS, MASK
    single = open_run(tmp_path / "all.h5", flatten="token_last")
    np.testing.assert_array_equal(single.load(1, "a").array, TOKENS[[0, 1, 2], [1, 2, 2]])
