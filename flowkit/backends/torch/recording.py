"""Whether anybody may take gradients: PyTorch knows."""

import torch
from torch._C._functorch import maybe_current_level


def answering():
    """A scope of whose results nobody takes gradients."""
    return torch.no_grad()


def records_gradients():
    """Whether somebody may take gradients of what is computed now."""
    return torch.is_grad_enabled() or (
        not torch.compiler.is_compiling() and maybe_current_level() is not None
    )
