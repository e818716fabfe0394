"""The monitor of a Keras training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from skinfo.errors import needs_extra


class _Monitor(Protocol):
    """What measures epochs and keeps a table."""

    def update(self, epoch: int, *, losses: Mapping[str, Any] | None = None) -> Any: ...
    def save(self) -> None: ...


def make_callback(monitor: _Monitor) -> Any:
    """Make a Keras callback of a monitor; what it does is said there."""
    with needs_extra("A Keras callback", "recipes"):
        import keras

    class FlowCallback(keras.callbacks.Callback):
        """Measures at the end of every epoch."""

        def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
            """Measure; Keras counts epochs from 0."""
            monitor.update(epoch + 1, losses=logs)

        def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
            """Write the table."""
            monitor.save()

    return FlowCallback()
