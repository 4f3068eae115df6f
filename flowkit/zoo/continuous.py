"""Families of continuous flows: trained by likelihood, or by flow matching."""

from typing import Annotated, Any

from flowkit.bijectors import Continuous
from flowkit.bijectors.continuous import EXACT
from flowkit.bijectors.solvers import TABLEAUS
from flowkit.conditioners import Field
from flowkit.contract.arguments import Count, Widths, words
from flowkit.zoo.family import Layers, Plan, family
from flowkit.zoo.table_front import table_front

SolverName = Annotated[str, words(*TABLEAUS)]
Trace = Annotated[str, words("exact", "rademacher", "gaussian")]


@family
def ffjord(
    plan: Plan,
    *,
    layers: Layers = 1,
    hidden: Widths = (64, 64),
    solver: SolverName = "rk4",
    steps: Count = 10,
    squash: bool = False,
    trace: Trace | None = None,
    kinetic: float = 0.0,
    jacobian: float = 0.0,
) -> list[Any]:
    """FFJORD: `layers` of z = x(0), dx/dt = v(x, t) from x(1) = x, v a network. Trained by likelihood.

    All features move together, each given all others: no halves, no order. Each direction takes `steps` steps of the
    solver, so a training step costs more than that of other families; `flow_matching` trains without solving.

    - `hidden`: the widths of the network, which reads the time beside x. With `squash` the time gates and shifts each
      layer instead, as published, which takes about twice as long.
    - `solver`, `steps`, `kinetic`, `jacobian`: as in `flowkit.bijectors.Continuous`.
    - `trace`: "exact" takes a derivative for each feature; "rademacher" and "gaussian" estimate. None takes "exact" for
      up to 16 features, and if `features` is None; "rademacher" for more.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range. Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud, FFJORD: Free-Form Continuous Dynamics for
    Scalable Reversible Generative Models (2019).

    >>> ffjord(features=3, hidden=[8]).exact
    'exact'
    """
    plan.front = table_front(features=plan.features, domains=plan.domains)
    return [
        Continuous(
            Field(hidden, squash=squash, context=plan.reads),
            solver,
            steps=steps,
            trace=trace or _usual_trace(plan),
            kinetic=kinetic,
            jacobian=jacobian,
        )
        for _ in range(layers)
    ]


@family
def flow_matching(
    plan: Plan,
    *,
    hidden: Widths = (64, 64),
    solver: SolverName = "rk4",
    steps: Count = 10,
    frequencies: Count = 3,
    trace: Trace | None = None,
    optional: bool = False,
    guidance: float = 0.0,
) -> list[Any]:
    """Flow matching: samples solve dx/dt = v(x, t) from noise at t = 0 to data at t = 1, v a network that regresses.

    Compile it with `loss=flowkit.objectives.FlowMatching()`: a training step then costs one pass of the network.
    Without that it is trained by likelihood, as `ffjord`.

    - `hidden`: the widths of the network. It reads cos(pi k t) and sin(pi k t), k = 1, ..., `frequencies`, beside x.
    - `solver`, `steps`, `guidance`: as in `flowkit.bijectors.Continuous`; `trace`: as for `ffjord`.
    - `optional`: the network may do without its context, as `FlowMatching(drop_context=0.1)` and `guidance` need.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range. Lipman, Chen, Ben-Hamu, Nickel & Le, Flow Matching for Generative Modeling (2023).

    >>> import keras
    >>> from flowkit.objectives import FlowMatching
    >>> flow = flow_matching(features=2, hidden=[8])
    >>> flow.compile(keras.optimizers.Adam(1e-3), loss=FlowMatching())
    """
    plan.front = table_front(features=plan.features, domains=plan.domains)
    context = "optional" if optional and plan.context else plan.reads
    return [
        Continuous(
            Field(hidden, frequencies=frequencies, context=context),
            solver,
            steps=steps,
            trace=trace or _usual_trace(plan),
            guidance=guidance,
        )
    ]


def _usual_trace(plan):
    return "exact" if plan.features is None or plan.features <= EXACT else "rademacher"
