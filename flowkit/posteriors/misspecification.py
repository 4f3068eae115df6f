"""P-values of data that a simulator may not explain."""

import numpy as np
from scipy.spatial import cKDTree

_NEAREST = 10


def p_values(found: np.ndarray, reference: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return (1 + the number of `held` rows as far from `reference` as a row of `found`) / (1 + all held), (b,).

    It is uniform, up to ties, if the row and those held out come from one source, whatever the distance is (Vovk,
    Gammerman & Shafer, Algorithmic Learning in a Random World, 2005). Here it is the mean distance to the 10 nearest
    rows of `reference`, in coordinates in which these are uncorrelated with variance 1: so it also sees what is small
    beside the main directions, and several modes. Raises ValueError for fewer than 10 rows of either.

    >>> rng = np.random.default_rng(0)
    >>> held, reference = rng.normal(size=(2, 999, 3))
    >>> p_values(np.array([[0.0, 0.0, 0.0], [0.0, 9.0, 0.0]]), reference, held).round(3).tolist()
    [0.702, 0.001]
    """
    if min(len(reference), len(held)) < _NEAREST:
        raise ValueError(
            f"misspecified: got {len(reference)} simulations of training and {len(held)} held out that compare with "
            f"the observation, expected {_NEAREST} of each. Simulate more."
        )
    mean, covariance = reference.mean(axis=0), np.atleast_2d(np.cov(reference, rowvar=False))
    variances, directions = np.linalg.eigh(covariance)
    least = max(1e-9 * variances.max(), 1e-30)  # of entries that never vary
    white = directions / np.sqrt(np.maximum(variances, least))
    tree = cKDTree((reference - mean) @ white)
    far, usual = (tree.query((x - mean) @ white, k=_NEAREST)[0].mean(axis=1) for x in (found, held))
    higher = len(held) - np.searchsorted(np.sort(usual), far)
    return (1 + higher) / (1 + len(held))
