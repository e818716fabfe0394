import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    LabelMIEstimator,
    NoisyMIEstimator,
    SlicedMIEstimator,
)


@pytest.mark.filterwarnings("ignore::skinfo.errors.SaturationWarning")
@parametrize_with_checks(
    [
        NoisyMIEstimator(),
        BinningMIEstimator(),
        ClusteringScore(),
        SlicedMIEstimator(),
        LabelMIEstimator(n_permutations=0),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
