"""How strange a row is to a flow: scores that are higher, the less a row belongs to the data."""

from typing import Any

import numpy as np

from flowkit.flow.flow import Flow


def typicality(
    flow: Flow,
    x: Any,
    reference: Any,
    context: Any = None,
    *,
    reference_context: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """|log p(x) - mean of log p over `reference`|, numpy (n,): how far from typical a density is, to either side.

    Where a density is highest there are often no data: of many entries nearly all of the mass lies in a thin shell, in
    which -log p is near to the entropy. `reference` are rows of the data, such as those trained on. Nalisnick,
    Matsukawa, Teh & Lakshminarayanan, Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality
    (2019), with a single row in each set.

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 100))
    >>> rows = np.random.default_rng(0).normal(size=(200, 100))
    >>> middle = np.zeros((1, 100))  # has the highest density of all, and no data come near to it
    >>> bool(flow.log_prob(middle) > flow.log_prob(rows).max())
    True
    >>> bool(typicality(flow, middle, rows) > typicality(flow, rows, rows).max())
    True
    """
    usual = flow.log_prob(reference, reference_context, batch_size=batch_size, seed=seed)
    found = flow.log_prob(x, context, batch_size=batch_size, seed=seed)
    return np.abs(found.astype("float64") - usual.mean(dtype="float64"))


def likelihood_ratio(
    flow: Flow,
    background: Flow,
    x: Any,
    context: Any = None,
    *,
    background_context: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """log p_background(x) - log p(x), numpy (n,): how much better a flow of something more general knows the rows.

    What makes any image likely, such as being smooth, adds as much to both and cancels. `background` was trained on
    other data, more of all kinds, or on the same data with some of their pixels replaced by noise. Ren et al.,
    Likelihood Ratios for Out-of-Distribution Detection (2019); Schirrmeister, Zhou, Ball & Zhang, Understanding Anomaly
    Detection with Deep Invertible Networks through Hierarchies of Distributions and Features (2020).

    >>> from flowkit import Flow
    >>> from flowkit.bijectors import Scale
    >>> flow, wider = Flow(Scale(0.0)), Flow(Scale(-1.0))
    >>> for one in (flow, wider):
    ...     one.build((None, 2))
    >>> likelihood_ratio(flow, wider, np.array([[0.0, 0.0], [5.0, 5.0]])).round(1).tolist()
    [-2.0, 19.6]
    """
    general = background.log_prob(x, background_context, batch_size=batch_size, seed=seed)
    return general.astype("float64") - flow.log_prob(x, context, batch_size=batch_size, seed=seed)
