"""Families of continuous flows: trained by likelihood, or by flow matching."""

import math
from typing import Annotated, Any

from flowkit.bijectors import Continuous, Scale, Squeeze, Unconstrain
from flowkit.bijectors.continuous import EXACT, Weight
from flowkit.bijectors.replay import Backprop
from flowkit.bijectors.solvers import TABLEAUS
from flowkit.conditioners import Field, UNet
from flowkit.contract.arguments import Count, shown, words
from flowkit.data.dequantize import Dequantize
from flowkit.zoo.family import EDGE, DataLevels, ImageShape, Plan, family

SolverName = Annotated[str, words(*TABLEAUS)]
Trace = Annotated[str, words("exact", "rademacher", "gaussian")]


@family(layers=1, hidden=(64, 64))
def ffjord(
    plan: Plan,
    *,
    solver: SolverName = "rk4",
    steps: Count = 10,
    squash: bool = False,
    trace: Trace | None = None,
    backprop: Backprop = "recompute",
    kinetic: Weight = 0.0,
    jacobian: Weight = 0.0,
) -> list[Any]:
    """FFJORD: `layers` of z = x(0), dx/dt = v(x, t) from x(1) = x, v a network. Trained by likelihood.

    All features move together, each given all others: no halves, no order. Each direction takes `steps` steps of the
    solver, so a training step costs more than that of other families; `flow_matching` trains without solving.

    - `hidden`: the widths of the network, of tanh, which reads the time beside x. With `squash` the time gates and
      shifts each layer instead, as published, which takes about twice as long.
    - `solver`, `steps`, `backprop`, `kinetic`, `jacobian`: as in `flowkit.bijectors.Continuous`. On PyTorch
      `backprop="stored"` trains about a third faster, with memory that grows with the steps.
    - `trace`: "exact" takes a derivative for each feature; "rademacher" and "gaussian" estimate. None takes "exact" for
      up to 16 features, and if `features` is None; "rademacher" for more.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range. Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud, FFJORD: Free-Form Continuous Dynamics for
    Scalable Reversible Generative Models (2019).

    >>> ffjord(features=3, hidden=[8]).exact
    'exact'
    """
    plan.actnorm = False
    return [
        Continuous(
            Field(plan.hidden, activation="tanh", squash=squash, context=plan.reads),
            solver,
            steps=steps,
            trace=trace or _usual_trace(plan),
            backprop=backprop,
            kinetic=kinetic,
            jacobian=jacobian,
        )
        for _ in range(plan.layers)
    ]


@family(hidden=(64, 64))
def flow_matching(
    plan: Plan,
    *,
    input_shape: ImageShape | None = None,
    num_classes: Count | None = None,
    data_levels: DataLevels = 256,
    solver: SolverName = "rk4",
    steps: Count = 10,
    frequencies: Count = 3,
    trace: Trace | None = None,
    optional: bool = False,
    guidance: Weight = 0.0,
) -> list[Any]:
    """Flow matching: samples solve dx/dt = v(x, t) from noise at t = 0 to data at t = 1, v a network that regresses.

    Compile it with `loss=flowkit.objectives.FlowMatching()`: a training step then costs one pass of the network.
    Without that it is trained by likelihood, as `ffjord`.

    - `input_shape`: (height, width, channels), for a flow of stored images, whose v is a `UNet`. They are dequantised,
      and a logit takes them onto the real line. `data_levels`: the number of their values. `num_classes`: the density
      depends on a class, and the context is integer labels (batch,).
    - `hidden`: the widths of the network; of images the channels at half of their resolution, at a quarter, and so on.
      It reads cos(pi k t) and sin(pi k t), k = 1, ..., `frequencies`, beside x.
    - `solver`, `steps`, `guidance`: as in `flowkit.bijectors.Continuous`; `trace`: as for `ffjord`.
    - `optional`: the network may do without its context, as `FlowMatching(drop_context=0.1)` and `guidance` need.

    The other arguments are those of all families of vectors, see `flowkit.zoo`. Raises ValueError for a number or a
    word out of range, and for arguments of vectors beside those of images; ContractError for images that cannot be
    halved as often. Lipman, Chen, Ben-Hamu, Nickel & Le, Flow Matching for Generative Modeling (2023).

    >>> import keras
    >>> from flowkit.objectives import FlowMatching
    >>> flow = flow_matching(features=2, hidden=[8])
    >>> flow.compile(keras.optimizers.Adam(1e-3), loss=FlowMatching())
    >>> flow_matching(input_shape=(8, 8, 1), hidden=[8, 8]).event_shape
    (8, 8, 1)
    """
    given = bool(plan.context or num_classes)
    context = {False: "none", True: "optional" if optional else "required"}[given]
    if input_shape is None:
        if num_classes is not None:
            raise ValueError(
                f"flow_matching's num_classes: got {num_classes}, expected None without input_shape. For vectors pass "
                "context= and an embedding= of the labels."
            )
        plan.actnorm = False
        field, few = Field(plan.hidden, frequencies=frequencies, context=context), None
    else:
        _refuse_vectors(plan)
        # Onto blocks of 2 x 2 pixels on the scale of the latents, by a logit with room at both ends, as in Real NVP:
        # without it the density would be too narrow at black and white for a solver of few steps.
        plan.front = [Unconstrain([(-EDGE, EDGE)] * input_shape[-1]), Scale(math.log(0.5)), Squeeze()]
        plan.image, plan.dequantize = input_shape, Dequantize(levels=data_levels)
        field = UNet(plan.hidden, frequencies=frequencies, context=context, num_classes=num_classes)
        few = "rademacher"
    return [
        Continuous(field, solver, steps=steps, trace=trace or few or _usual_trace(plan), guidance=guidance)
    ]


def _refuse_vectors(plan):
    for name in ("features", "context", "domains", "embedding"):
        if value := getattr(plan, name):
            raise ValueError(
                f"flow_matching's {name}: got {shown(value)}, expected none beside input_shape: it describes vectors. "
                f"Leave {name} out; num_classes= makes images conditional on their class."
            )


def _usual_trace(plan):
    return "exact" if plan.features is None or plan.features <= EXACT else "rademacher"
