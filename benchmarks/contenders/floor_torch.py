"""The floor on torch: the coupling networks alone, at the shapes that the flow gives them.

No flow around them: each reads a fixed input, and gives the gradients of its weights and of that input, as it has to
inside a flow. "Evaluation" and "sampling" are the networks' forward pass. The networks have biases where Glow's have
actnorms. Convolutions run channels-last.
"""

import torch
from contenders.on_torch import DEVICE, OnTorch
from measuring.work import network_inputs
from torch import nn

PACKAGE = "torch"


def images(work, x):
    width, nets, inputs = work["width"], [], []
    for shape in network_inputs(work):
        channels = shape[-1]
        given = torch.randn(work["batch"], channels, *shape[:-1], device=DEVICE)
        given = given.to(memory_format=torch.channels_last).requires_grad_()
        for _ in range(work["steps"]):
            net = nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 1),
                nn.ReLU(),
                nn.Conv2d(width, 2 * channels, 3, padding=1),
            )
            nets.append(net.to(DEVICE, memory_format=torch.channels_last))
            inputs.append(given)
    return bare(nets, inputs, work)


def vectors(work, x):
    half, width = work["features"] // 2, work["width"]
    nets = [
        nn.Sequential(
            nn.Linear(half, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * half)
        ).to(DEVICE)
        for _ in range(work["layers"])
    ]
    given = torch.randn(work["batch"], half, device=DEVICE).requires_grad_()
    return bare(nets, [given] * len(nets), work)


def bare(nets, inputs, work):
    def forward():
        return [net(x) for net, x in zip(nets, inputs, strict=True)]

    def loss():
        for x in inputs:
            x.grad = None
        return sum(answer.square().mean() for answer in forward())

    return OnTorch(nn.ModuleList(nets), loss, forward, forward, precision=work["precision"])
