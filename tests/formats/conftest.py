"""Every format in turn."""

import os

import pytest

from skinfo import save_run

from .stored import FORMATS, LABELS, two_layers


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Only a loss of power would show it."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(params=FORMATS)
def fmt(request):
    return request.param


@pytest.fixture
def path(fmt, tmp_path):
    return tmp_path / "run"


@pytest.fixture
def written(fmt, path):
    """A run of two checkpoints."""
    for epoch in (1, 20):
        save_run(path, epoch, two_layers(epoch), labels=LABELS, losses={"x": epoch}, format=fmt)
    return path
