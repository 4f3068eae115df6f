"""Whether anybody may take gradients: PyTorch knows."""

import torch
from torch._C._functorch import maybe_current_level


def records_gradients():
    """Whether somebody may take gradients of what is computed now."""
    return torch.is_grad_enabled() or not torch.compiler.is_compiling() and maybe_current_level() is not None
