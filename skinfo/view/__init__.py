"""From a flow to pictures and a report; matplotlib and plotly are imported when they draw."""

from skinfo.view.curves import Curves
from skinfo.view.pictures.comparison import FlowComparisonDisplay
from skinfo.view.pictures.curves import QuantityCurveDisplay
from skinfo.view.pictures.depth import DepthDisplay
from skinfo.view.pictures.distances import (
    ClassDistancesDisplay,
    DistanceHistogramDisplay,
    DistanceRidgesDisplay,
    plot_distances,
)
from skinfo.view.pictures.figures import save_figure
from skinfo.view.pictures.overview import InformationFlowDisplay, cell_edges
from skinfo.view.pictures.plane import InformationPlaneDisplay
from skinfo.view.pictures.remembered import (
    ConfusionDisplay,
    PointwiseInformationDisplay,
    plot_confusions,
    plot_remembered,
)
from skinfo.view.pictures.sigmas import RunSigmasDisplay, SigmaCurveDisplay
from skinfo.view.report.writing import make_report, write_report

__all__ = [
    "ClassDistancesDisplay",
    "ConfusionDisplay",
    "Curves",
    "DepthDisplay",
    "DistanceHistogramDisplay",
    "DistanceRidgesDisplay",
    "FlowComparisonDisplay",
    "InformationFlowDisplay",
    "InformationPlaneDisplay",
    "PointwiseInformationDisplay",
    "QuantityCurveDisplay",
    "RunSigmasDisplay",
    "SigmaCurveDisplay",
    "cell_edges",
    "make_report",
    "plot_confusions",
    "plot_distances",
    "plot_remembered",
    "save_figure",
    "write_report",
]
