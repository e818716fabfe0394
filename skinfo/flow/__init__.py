"""From a run to a table: every estimator on every layer at every checkpoint."""

from skinfo.flow.inequality import note_data_processing
from skinfo.flow.ranges import layer_ranges
from skinfo.flow.settings import describe_estimators, describe_layer, describe_settings
from skinfo.flow.steps import name_estimators
from skinfo.flow.sweep import information_flow

__all__ = [
    "describe_estimators",
    "describe_layer",
    "describe_settings",
    "information_flow",
    "layer_ranges",
    "name_estimators",
    "note_data_processing",
]
