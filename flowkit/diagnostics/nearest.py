"""The nearest of many rows, which are looked at a few at a time."""

import numpy as np

_AT_ONCE = 2**24  # distances that are held


def nearest(rows: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(place, distance) of the row of `among` (m, D) that is nearest to each of `rows` (n, D), both float64.

    Distances are root mean squares over the D entries. That of a copy is exactly 0.

    >>> nearest(np.array([[0.0, 1.0]]), np.array([[5.0, 5.0], [0.0, 1.0]]))
    (array([1]), array([0.]))
    """
    centre = among.mean(axis=0)
    moved = among - centre
    squares = (moved**2).sum(axis=1)
    places = [
        np.argmin(squares - 2 * (some - centre) @ moved.T, axis=1)
        for some in np.array_split(rows, max(1, len(rows) * len(among) // _AT_ONCE))
    ]
    place = np.concatenate(places)
    # By the difference itself: the product above has lost the digits of small distances.
    return place, np.sqrt(((rows - among[place]) ** 2).mean(axis=1))
