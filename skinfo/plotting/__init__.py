"""Pictures: display objects hold arrays, ``plot`` draws them; matplotlib is imported late."""

from skinfo.plotting.clustering import (
    ClassDistancesDisplay,
    ClusteringCurveDisplay,
    DistanceRidgesDisplay,
)
from skinfo.plotting.comparison import EstimatorComparisonDisplay, FlowComparisonDisplay
from skinfo.plotting.curves import Curves
from skinfo.plotting.distances import DistanceHistogramDisplay, plot_distances
from skinfo.plotting.figures import save_figure
from skinfo.plotting.panel import InformationFlowDisplay, cell_edges
from skinfo.plotting.plane import InformationPlaneDisplay
from skinfo.plotting.sigmas import SigmaCurveDisplay

__all__ = [
    "ClassDistancesDisplay",
    "ClusteringCurveDisplay",
    "Curves",
    "DistanceHistogramDisplay",
    "DistanceRidgesDisplay",
    "EstimatorComparisonDisplay",
    "FlowComparisonDisplay",
    "InformationFlowDisplay",
    "InformationPlaneDisplay",
    "SigmaCurveDisplay",
    "cell_edges",
    "plot_distances",
    "save_figure",
]
