import sys

import numpy as np
import pytest
from compilation import COMPILED
from hypothesis import settings

settings.register_profile(
    "skinfo", deadline=None, derandomize=True, max_examples=60 if COMPILED else 20
)
settings.load_profile("skinfo")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command in this process, exactly as the console script does."""

    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from skinfo import cli

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["skinfo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        plt.close("all")
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return called
