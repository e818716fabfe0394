""""""

import pytest

from .flows import measured


@pytest.fixture(scope="module")
def real():
    """Two flows of one run by different draws, and one of another run."""
    return {"one": measured(0)[0], "same": measured(0, draws=1)[0], "other": measured(1)[0]}
