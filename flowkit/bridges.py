"""Flows as distributions of other libraries: priors, guides and targets of PyTorch, Pyro and NumPyro."""

import importlib
from collections.abc import Sequence
from typing import Any

from keras import ops, tree

from flowkit.contract import Context
from flowkit.engines import engine
from flowkit.flow.flow import Flow
from flowkit.flow.inputs import check_adapted, check_context
from flowkit.flow.rows import map_leaves

__all__ = ["numpyro_distribution", "torch_distribution"]


def torch_distribution(flow: Flow, context: Context = None) -> Any:
    """Return the density of a flow as a `torch.distributions.Distribution`, on the PyTorch backend.

    `log_prob` and `rsample` have gradients with respect to values, weights and context; draws follow
    `torch.manual_seed`. `event_shape` is that of the flow; `batch_shape` is (), or (b,) for a context of b rows;
    `support` is the domain of the data. `torch.distributions.kl_divergence` with another distribution is estimated from
    1,024 draws. The distribution uses the weights of the flow as they are when it is called. For Pyro wrap it in
    `pyro.contrib.zuko.ZukoToPyro`.

    Raises RuntimeError on another backend, TypeError for anything but a flow, ContractError for one that is not built
    or adapted and for a missing context, and ValueError for one whose log_prob is not exact.

    >>> from flowkit.bijectors import Scale
    >>> flow = Flow(Scale(0.0))
    >>> flow.build((None, 2))
    >>> q = torch_distribution(flow)
    >>> q.event_shape, q.rsample((5,)).shape
    (torch.Size([2]), torch.Size([5, 2]))
    """
    context = _checked("torch_distribution", "torch", flow, context)
    return importlib.import_module("flowkit.engines.torch_distribution").FlowDistribution(flow, context)


def numpyro_distribution(flow: Flow, context: Context = None, *, weights: Sequence[Any] | None = None) -> Any:
    """Return the density of a flow as a `numpyro.distributions.Distribution`, on the JAX backend.

    `log_prob` and `sample` work in `jit`, `grad` and `vmap`, with gradients with respect to values, weights and
    context. `event_shape` is that of the flow; `batch_shape` is (), or (b,) for a context of b rows; `support` is the
    domain of the data (NumPyro 0.22 or newer for columns with different domains).

    - `weights`: arrays in place of the flow's `trainable_variables`, in their order, for a guide that learns them. None
      uses the weights that the flow has when it is called; a compiled function keeps those it was compiled with.

    Raises RuntimeError on another backend, ImportError without NumPyro, TypeError for anything but a flow,
    ContractError for one that is not built or adapted and for a missing context, and ValueError for one whose log_prob
    is not exact and for another number of weights.
    """
    context = _checked("numpyro_distribution", "jax", flow, context)
    if weights is not None and len(weights) != len(flow.trainable_variables):
        raise ValueError(
            f"numpyro_distribution: got {len(weights)} weights, expected {len(flow.trainable_variables)}. Pass "
            "[variable.value for variable in flow.trainable_variables], or arrays of their shapes."
        )
    try:
        module = importlib.import_module("flowkit.engines.jax_distribution")
    except ModuleNotFoundError as error:
        raise ImportError("numpyro_distribution needs NumPyro. Run `pip install numpyro`.") from error
    return module.FlowDistribution(flow, context, None if weights is None else list(weights))


def _checked(name, backend, flow, context):
    """Return the context as tensors. Raise for a flow that the function `name` cannot take."""
    if engine.name != backend:
        raise RuntimeError(
            f"{name}: got the backend {engine.name!r}, expected {backend!r}. Set KERAS_BACKEND={backend} before Keras "
            "is imported; a saved flow loads on any backend."
        )
    if not isinstance(flow, Flow):
        raise TypeError(f"{name}: got {type(flow).__name__}, expected a flowkit.Flow.")
    flow._put_back()
    check_adapted(flow)
    if flow.exact != "exact":
        raise ValueError(
            f"{name}: got a flow whose log_prob is {flow.exact!r}, expected one that is exact, as a distribution needs."
        )
    values = map_leaves(engine.known, context)
    parts = [] if context is None else tree.flatten(values)
    if any(part is None for part in parts):  # a compiled program is being made
        return context
    values = check_context(flow, values)
    if values is None or any(ops.is_tensor(part) for part in tree.flatten(context)):
        return None if values is None else context  # tensors as they are, with their gradients
    return map_leaves(ops.convert_to_tensor, values)
