"""A run of either kind."""

import pytest

from skinfo.runs import open_run

from .written import write_checkpoint, write_run


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run"


@pytest.fixture(params=["directory", "memory"])
def make_run(request, path):
    """Make a run of layers, arrays by epoch, labels and groups in either way."""

    def make(arrays, layers, labels=None, groups=None):
        if request.param == "directory":
            # The files as such: what the writer would refuse, others may have written.
            write_run(path, {}, layers, labels=labels, groups=groups)
            for epoch, members in arrays.items():
                write_checkpoint(path, epoch, **members)
            return open_run(path)
        return open_run(
            {(epoch, name): array for epoch, by in arrays.items() for name, array in by.items()},
            labels=labels,
            groups=groups,
            sigma={layer.name: layer.sigma for layer in layers if layer.sigma is not None},
            layers=[layer.name for layer in layers],
        )

    return make
