"""From a run to a table: every estimator on every layer at every checkpoint."""

from skinfo.flow.defaults import default_estimators, measure_run
from skinfo.flow.settings import describe_settings
from skinfo.flow.sigmas import sigma_curves
from skinfo.flow.snapshots import Snapshots, collect_snapshots
from skinfo.flow.sweep import information_flow
from skinfo.flow.tables import read_table, write_table

__all__ = [
    "Snapshots",
    "collect_snapshots",
    "default_estimators",
    "describe_settings",
    "information_flow",
    "measure_run",
    "read_table",
    "sigma_curves",
    "write_table",
]
