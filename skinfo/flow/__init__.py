"""From a run to a table: every estimator on every layer at every checkpoint."""

from skinfo.flow.settings import describe_settings
from skinfo.flow.sweep import information_flow

__all__ = ["describe_settings", "information_flow"]
