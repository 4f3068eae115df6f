"""zuko on torch: its RealNVP, affine couplings by alternating checkered masks; its spline flow and its MAF.

With `passes=2` its spline flow is one of couplings, whose networks read and answer for all features, masked.
"""

import torch
import zuko
from contenders.on_torch import DEVICE, OnTorch

PACKAGE = "zuko"


def vectors(work, x):
    return of(zuko.flows.RealNVP, work, x)


def splines(work, x):
    return of(zuko.flows.NSF, work, x, bins=work["bins"], passes=2)


def maf(work, x):
    return of(zuko.flows.MAF, work, x)


def of(family, work, x, **options):
    sizes = {"transforms": work["layers"], "hidden_features": [work["width"]] * 2}
    model = family(work["features"], **sizes, **options).to(DEVICE)
    return OnTorch(
        work,
        model,
        torch.as_tensor(x, device=DEVICE),
        lambda x: -model().log_prob(x).mean(),
        lambda x: model().log_prob(x),
        lambda count: model().sample((count,)),
    )
