"""Every format in turn."""

import os

import pytest

from .stored import FORMATS


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
