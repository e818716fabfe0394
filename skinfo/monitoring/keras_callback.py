"""The monitor of a Keras training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skinfo.errors import needs_extra

if TYPE_CHECKING:
    from skinfo.monitoring.monitor import FlowMonitor


def make_callback(monitor: FlowMonitor) -> Any:
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
