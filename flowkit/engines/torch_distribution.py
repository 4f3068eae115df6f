"""A flow as a `torch.distributions.Distribution`."""

import math

import torch
from keras import tree
from torch.distributions import Distribution, constraints, register_kl

_DRAWS = 1024  # of a divergence


class FlowDistribution(Distribution):
    """The density of a flow. Its batch has one entry for each row of the context."""

    arg_constraints = {}  # noqa: RUF012, as in PyTorch
    has_rsample = True

    def __init__(self, flow, context=None, rows=None, validate_args=None):
        self.flow, self.context = flow, context
        if rows is None and context is not None:
            rows = torch.arange(len(tree.flatten(context)[0]))
        self.rows = (
            torch.zeros(()) if rows is None else rows
        )  # the row of the context for each entry of the batch
        self.has_rsample = getattr(flow.base, "reparameterized", True)
        super().__init__(self.rows.shape, torch.Size(flow.event_shape), validate_args=validate_args)

    @property
    def support(self):
        return self.flow.bijector.spec.domain.constraint(len(self.event_shape), constraints)

    def __repr__(self):
        shapes = f"batch_shape={[*self.batch_shape]}, event_shape={[*self.event_shape]}"
        return f"FlowDistribution({self.flow.name!r}, {shapes})"

    def expand(self, batch_shape, _instance=None):
        return FlowDistribution(self.flow, self.context, self.rows.expand(batch_shape), self._validate_args)

    def rsample(self, sample_shape=()):
        shape = (*sample_shape, *self.batch_shape)
        context, rows = self._context_of(self.batch_shape), math.prod(shape)
        seed = int(torch.randint(2**31, ()))  # so that draws follow torch.manual_seed
        draws = rows if context is None else math.prod(sample_shape)
        x, _ = self.flow.draw(max(1, draws), context, seed=seed)
        return x.reshape(-1, *self.event_shape)[:rows].reshape(*shape, *self.event_shape)

    def sample(self, sample_shape=()):
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        lead = value.shape[: value.ndim - len(self.event_shape)]
        shape = torch.broadcast_shapes(lead, self.batch_shape)
        x = value.expand(*shape, *self.event_shape).reshape(-1, *self.event_shape)
        return self.flow(x, context=self._context_of(shape)).reshape(shape)

    def _context_of(self, shape):
        """Return the row of the context for each entry of a shape that ends in the batch, flat; None without one."""
        if self.context is None:
            return None
        rows = self.rows.expand(shape).reshape(-1)
        return tree.map_structure(lambda part: torch.as_tensor(part)[rows], self.context)


@register_kl(FlowDistribution, FlowDistribution)
@register_kl(FlowDistribution, Distribution)
@register_kl(Distribution, FlowDistribution)
def divergence(p, q):
    """Return the mean of log p(x) - log q(x) over draws x of p, with gradients if the draws of p have them."""
    x = p.rsample((_DRAWS,)) if p.has_rsample else p.sample((_DRAWS,))
    return (p.log_prob(x) - q.log_prob(x)).mean(0)
