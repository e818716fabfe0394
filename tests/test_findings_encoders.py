"""What the page on encoders says, by its committed table."""

import numpy as np
import pytest
from test_results import PROSE, in_words, results


@pytest.fixture(name="bottleneck", scope="module")
def load():
    return results("vib_vae", kind="VIB")


@pytest.fixture(name="by_beta", scope="module")
def average(bottleneck):
    return bottleneck.groupby("beta").mean(numeric_only=True)


def test_the_rate_is_information_and_mismatch():
    table = results("vib_vae")
    parts = table["mutual_info"] + table["mismatch"]
    np.testing.assert_allclose(parts, table["rate"], rtol=1e-4, atol=2e-5)
    assert (table["mismatch"] > -3 * table["stderr"] - 1e-4).all()
    assert (table["mutual_info"] <= table["log_n"] + 1e-4).all()


def test_the_rate_grows_where_information_cannot(bottleneck, by_beta):
    least = by_beta.loc[1e-4]
    assert (
        f"{least['rate']:.0f} nats at beta = 1e-4, where I(X;Z) is {least['mutual_info']:.2f}"
        in (PROSE)
    )
    assert (bottleneck[bottleneck["beta"] == 1e-4]["notes"] == "saturated").all()


def test_information_beyond_the_label_falls_first(by_beta):
    betas = [1e-3, 1e-2, 0.1]
    falls = in_words(by_beta.loc[betas, "conditional"], 2)
    stays = in_words(by_beta.loc[betas, "label"], 2)
    assert f"I(X;Z|Y) is {falls} and I(Y;Z) {stays} at beta = 1e-3, 1e-2 and 0.1" in PROSE


def test_mismatch_of_the_autoencoder():
    by_epoch = results("vib_vae", kind="VAE").groupby("epoch").mean(numeric_only=True)
    said = [
        f"{by_epoch.loc[epoch, 'mismatch']:.1f} of {by_epoch.loc[epoch, 'rate']:.1f}"
        for epoch in (1, 16)
    ]
    assert f"{said[0]} nats after the first epoch and {said[1]} after the sixteenth" in PROSE
