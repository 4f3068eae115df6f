"""Random weights for torch modules: at their initial values most mistakes read 0 = 0."""

import torch


def moved(module, scale=0.3):
    """`module` in evaluation mode, its parameters moved by normal noise, kernels by less the wider they are."""
    with torch.no_grad():
        for p in module.parameters():
            fan_in = p[0].numel() if p.ndim > 1 else 1
            p.add_(scale * torch.randn_like(p) / max(1, fan_in) ** 0.5)
    return module.eval()


def adapted(module, event):
    """`module` after its first call on data, which sets what depends on data, its weights moved then."""
    module.train()
    module(0.4 + 0.7 * torch.randn(16, *event))
    return moved(module)
