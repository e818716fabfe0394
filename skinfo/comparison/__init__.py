"""Flows side by side: what changed beyond its error, and several seeds of one setting as one."""

from skinfo.comparison.differences import CHANGES, COMPARISON_COLUMNS, SCOPES, compare_flows
from skinfo.comparison.flows import Alignment, NothingInCommonError, read_flows
from skinfo.comparison.orders import orders_over_sigmas
from skinfo.comparison.pooling import POOLED_COLUMNS, POOLING_NOTES, is_pooled, pool_flows

__all__ = [
    "CHANGES",
    "COMPARISON_COLUMNS",
    "POOLED_COLUMNS",
    "POOLING_NOTES",
    "SCOPES",
    "Alignment",
    "NothingInCommonError",
    "compare_flows",
    "is_pooled",
    "orders_over_sigmas",
    "pool_flows",
    "read_flows",
]
