"""Wrapping a bijector of another library, whichever it is."""


def adapt(obj, *, event_shape=None):
    """`obj`, a bijector of torch.distributions, zuko, normflows, nflows, FlowJAX, distrax or TFP, as ours."""
    raise NotImplementedError
