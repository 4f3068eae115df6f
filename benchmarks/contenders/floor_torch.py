"""The floor on torch: the flow's networks alone, at the shapes that the flow gives them.

No flow around them: each reads a fixed input, and gives the gradients of its weights and of that input, as it has to
inside a flow. "Evaluation" and "sampling" are the networks' forward pass, once, though the inverse of a MAF cannot do
with that. The networks have biases where Glow's have actnorms, and those of a MAF no masks. Convolutions run
channels-last.
"""

import itertools

import torch
from contenders.on_torch import DEVICE, OnTorch
from measuring.work import network_inputs, perceptron
from torch import nn

PACKAGE = "torch"


def images(work, x):
    width, nets, inputs = work["width"], [], []
    for shape in network_inputs(work):
        channels = shape[-1]
        given = torch.randn(work["batch"], channels, *shape[:-1], device=DEVICE)
        inputs.append(given.to(memory_format=torch.channels_last).requires_grad_())
        for _ in range(work["steps"]):
            net = nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 1),
                nn.ReLU(),
                nn.Conv2d(width, 2 * channels, 3, padding=1),
            )
            nets.append(net.to(DEVICE, memory_format=torch.channels_last))
    return Floor(work, nets, inputs, each=work["steps"])


def vectors(work, x):
    sizes, nets = perceptron(work), []
    for _ in range(work["layers"]):
        layers = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        nets.append(nn.Sequential(*layers[:-1]).to(DEVICE))
    given = torch.randn(work["batch"], sizes[0], device=DEVICE).requires_grad_()
    return Floor(work, nets, [given], each=work["layers"])


splines = maf = vectors


class Floor(OnTorch):
    """`nets`, of which `each` read the same one of `inputs`."""

    def __init__(self, work, nets, inputs, each):
        def forward(inputs):
            return [net(inputs[i // each]) for i, net in enumerate(nets)]

        def loss(inputs):
            for x in inputs:
                x.grad = None
            return sum(answer.square().mean() for answer in forward(inputs))

        # Asked for so many samples, the networks read as many rows.
        super().__init__(work, nn.ModuleList(nets), inputs, loss, forward, lambda n: forward(self.rows(n)))
