"""Information flow measured while a network is trained, without storing activations."""

from skinfo.monitoring.journal import read_journal
from skinfo.monitoring.monitor import FlowMonitor
from skinfo.monitoring.schedule import log_spaced_epochs

__all__ = ["FlowMonitor", "log_spaced_epochs", "read_journal"]
