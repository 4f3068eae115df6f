"""Other processes, of which Keras's `fit` on PyTorch knows nothing."""

import torch

from flowkit.backends.any.steps import giving_back, settle

__all__ = ["giving_back", "processes", "settle"]


def processes():
    """How many processes have joined to train one model, on engines whose `fit` knows of one alone."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
