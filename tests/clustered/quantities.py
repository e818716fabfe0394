"""What the tests of clustering share."""


def by_name(estimator):
    """The measured quantities of a fitted estimator by name."""
    return {quantity.name: quantity for quantity in estimator.quantities_}
