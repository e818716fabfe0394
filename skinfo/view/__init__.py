"""From a flow to pictures and a report; matplotlib and plotly are imported when they draw."""

from skinfo.view.pictures import (
    ClassDistancesDisplay,
    ClusteringCurveDisplay,
    Curves,
    DistanceHistogramDisplay,
    DistanceRidgesDisplay,
    FlowComparisonDisplay,
    InformationFlowDisplay,
    InformationPlaneDisplay,
    SigmaCurveDisplay,
    cell_edges,
    plot_distances,
    save_figure,
)
from skinfo.view.report import make_report, write_report

__all__ = [
    "ClassDistancesDisplay",
    "ClusteringCurveDisplay",
    "Curves",
    "DistanceHistogramDisplay",
    "DistanceRidgesDisplay",
    "FlowComparisonDisplay",
    "InformationFlowDisplay",
    "InformationPlaneDisplay",
    "SigmaCurveDisplay",
    "cell_edges",
    "make_report",
    "plot_distances",
    "save_figure",
    "write_report",
]
