"""Couplings of other libraries whose network sees the kept entries alone."""

from collections.abc import Callable

import numpy as np

from flowkit.bijectors import Coupling
from flowkit.conditioners import MLP
from flowkit.transforms import Transform


def coupling_layer(
    kernels: list[np.ndarray],
    biases: list[np.ndarray],
    kept: np.ndarray,
    transform: Transform,
    activation: str,
) -> tuple[Coupling, Callable[[], None]]:
    """A `Coupling` and a function that fills it, once it is built, with the weights of a perceptron.

    Kernels are (units, units before), as in torch. The network there sees the entries that are `kept`, then the
    context, and answers for the others with the parameters of one entry side by side. Here it sees zeros in the others
    and answers for all, so that its first and last kernel have zeros there.
    """
    size, seen, count = len(kept), int(kept.sum()), transform.parameters
    context = kernels[0].shape[1] - seen
    conditioner = MLP(
        [len(bias) for bias in biases[:-1]], activation=activation, context="required" if context else "none"
    )
    layer = Coupling(conditioner, transform, split=kept)
    first = np.zeros((size, len(biases[0])))
    first[kept] = kernels[0][:, :seen].T
    last, bias = np.zeros((len(biases[-2]), size, count)), np.zeros((size, count))
    last[:, ~kept] = kernels[-1].T.reshape(-1, size - seen, count)
    bias[~kept] = biases[-1].reshape(size - seen, count)
    values = [first, *(kernel.T for kernel in kernels[1:-1]), last.reshape(len(biases[-2]), -1)]

    def fill():
        denses = [*conditioner.hidden_layers, conditioner.last]
        for own, kernel, shift in zip(denses, values, [*biases[:-1], bias.reshape(-1)], strict=True):
            own.kernel.assign(kernel)
            own.bias.assign(shift)
        if context:
            conditioner.bias.kernel.assign(kernels[0][:, seen:].T)

    return layer, fill
