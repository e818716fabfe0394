"""Pictures: display objects hold arrays, ``plot`` draws them; matplotlib is imported late."""

from skinfo.view.pictures.clustering import (
    ClassDistancesDisplay,
    ClusteringCurveDisplay,
    DistanceRidgesDisplay,
)
from skinfo.view.pictures.comparison import FlowComparisonDisplay
from skinfo.view.pictures.curves import Curves
from skinfo.view.pictures.distances import DistanceHistogramDisplay, plot_distances
from skinfo.view.pictures.figures import save_figure
from skinfo.view.pictures.overview import InformationFlowDisplay, cell_edges
from skinfo.view.pictures.plane import InformationPlaneDisplay
from skinfo.view.pictures.sigmas import SigmaCurveDisplay

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
    "plot_distances",
    "save_figure",
]
