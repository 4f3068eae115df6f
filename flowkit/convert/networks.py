"""Networks of other libraries in ours: masked ones as a MADE or ResidualMADE, those of couplings as an MLP."""

from collections.abc import Sequence

import numpy as np

from flowkit.bijectors import Autoregressive, Coupling
from flowkit.conditioners import MADE, MLP, ResidualMADE, ResidualMLP
from flowkit.transforms import Transform


def masked_layer(
    name: str,
    network: Sequence[list[np.ndarray]],
    order: np.ndarray,
    transform: Transform,
    activation: str,
    places: Sequence[int] | None = None,
    blocks: bool = False,
) -> Autoregressive:
    """Return an `Autoregressive` layer with the weights of a masked network.

    `network`: kernels, biases and masks; kernels and masks are (units, units before), as in torch. With `blocks` all
    hidden layers but the first stand in twos, of which each is added to what came before it. `order[k]` is the index of
    the entry that is the k-th to come. What the first kernel has beyond the entries is for
    the context. The network answers with the parameters of one entry side by side; `places` says which of them is
    ours, in our order. Raises ValueError, with `name`, for masks of another kind than MADE's.
    """
    kernels, biases, masks = map(list, network)
    size, width = len(order), kernels[0].shape[1]
    heard = np.eye(width, dtype=bool)
    units, degrees = [order], []
    for mask in masks[:-1]:
        heard = (mask[:, : len(heard)] != 0) @ heard
        own = heard[:, order]  # of the entries as they come
        degree = own.sum(axis=1)
        _require(name, own == (np.arange(size) < degree[:, None]))
        units.append(np.argsort(degree, kind="stable"))
        degrees.append(np.sort(degree))
    count = transform.parameters
    theirs = np.arange(count) if places is None else np.array(places)
    # Channel k D + i is the k-th parameter of the entry that comes as the i-th.
    units.append((order[None, :] * count + theirs[:, None]).reshape(-1))
    inputs = [np.arange(1, size + 1), *degrees]
    outputs = [*degrees, np.tile(np.arange(size), count)]
    for i, (before, after) in enumerate(zip(inputs, outputs, strict=True)):
        rows = units[i + 1]
        _require(name, (masks[i][rows][:, units[i]] != 0) == (before <= after[:, None]))
        biases[i] = biases[i][rows]
        kernels[i] = (kernels[i] * masks[i])[rows]
    words = {"activation": activation, "context": "none" if width == size else "required"}
    conditioner: MADE | ResidualMADE
    if blocks:
        _require(name, [np.array_equal(some, degrees[0]) for some in degrees])  # what is added is heard alike
        conditioner = ResidualMADE(
            len(degrees[0]),
            blocks=len(degrees) // 2,
            degrees=degrees[0].tolist(),
            activate_last=False,
            **words,
        )
    else:
        conditioner = MADE(
            [len(some) for some in degrees], degrees=[some.tolist() for some in degrees], **words
        )
    identity = np.arange(size)
    same = None if (order == identity).all() else order.tolist()
    layer = Autoregressive(
        conditioner, transform, order="reversed" if (order == identity[::-1]).all() and size > 1 else same
    )

    layer.build_for((None, size), (None, width - size) if width > size else None)
    for own, kernel, bias, before in zip(conditioner.all_layers(), kernels, biases, units, strict=False):
        own.kernel.assign(kernel[:, before].T)
        own.bias.assign(bias)
    if conditioner.bias is not None:
        conditioner.bias.kernel.assign(kernels[0][:, size:].T)
    return layer


def _require(name, holds):
    if not np.all(holds):
        raise ValueError(
            f"{name}: got masks under which an entry reads later ones, expected each entry to read "
            "those before, as in a MADE."
        )


def coupling_layer(
    conditioner: MLP | ResidualMLP,
    transform: Transform,
    kept: np.ndarray,
    moved: np.ndarray,
    kernels: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
) -> Coupling:
    """Return a `Coupling` with the weights of a network.

    Kernels are (units, units before), as in torch. The network there reads the entries `kept`, then the context, and
    returns the parameters of each entry `moved` side by side. `conditioner` reads and returns all entries, so its first
    and last kernel have zeros for the others.
    """
    size, seen, count = len(kept) + len(moved), len(kept), transform.parameters
    mask = np.zeros(size, bool)
    mask[kept] = True
    first = np.zeros((size, len(biases[0])))
    first[kept] = kernels[0][:, :seen].T
    last, bias = np.zeros((len(biases[-2]), size, count)), np.zeros((size, count))
    last[:, moved] = kernels[-1].T.reshape(-1, len(moved), count)
    bias[moved] = biases[-1].reshape(len(moved), count)
    values = [first, *(kernel.T for kernel in kernels[1:-1]), last.reshape(len(biases[-2]), -1)]
    layer = Coupling(conditioner, transform, split=mask, layout="interleaved")
    context = kernels[0][:, seen:].T
    layer.build_for((None, size), (None, len(context)) if len(context) else None)
    denses = [*conditioner.hidden_layers, conditioner.last]
    for own, kernel, shift in zip(denses, values, [*biases[:-1], bias.reshape(-1)], strict=True):
        own.kernel.assign(kernel)
        own.bias.assign(shift)
    if conditioner.bias is not None:
        conditioner.bias.kernel.assign(context)
    return layer
