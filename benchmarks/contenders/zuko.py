"""zuko on torch: its RealNVP, affine couplings by alternating checkered masks."""

import torch
import zuko
from contenders.on_torch import DEVICE, OnTorch

PACKAGE = "zuko"


def vectors(work, x):
    x = torch.as_tensor(x, device=DEVICE)
    hidden = [work["width"]] * 2
    model = zuko.flows.RealNVP(work["features"], transforms=work["layers"], hidden_features=hidden).to(DEVICE)
    return OnTorch(
        model,
        lambda: -model().log_prob(x).mean(),
        lambda: model().log_prob(x),
        lambda: model().sample((len(x),)),
    )
