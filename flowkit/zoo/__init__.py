"""Named architectures, one keyword-only function each, which returns a `Flow`; and trained ones by name.

`glow`, `jet`, `tarflow`, `flow_pp`, `maf_images` and `realnvp_images` are for images, `flow_matching` for both, all
others for vectors, the rows of a table; docs/families.md says which to take. Of vectors:

- `features`: the number of entries of a vector, or the names of a table's columns, which makes the weights now; None
  leaves it to the first data.
- `context`: how many entries a vector has that densities are conditional on; 0 for none.
- `embedding`: a Keras layer that reads the context, as in `Flow`. `context` is then that of its input; labels, for an
  embedding that begins with a table of them, count as 1. A model whose inputs were declared by `keras.Input` says their
  shapes itself, also of a series or of several inputs by name; then any number from 1 up will do.
- `domains`: the domain of each feature, such as ["real", "positive", (0, 1)], as in `table_front`; None: all are real.
  With names as `features` also {name: domain}, of the columns that are not real.
  `nsf` and `nsf_autoregressive` take circular ones too, "circular" or ("circular", low, high), see there.
- `start`: of most families. "closed form", the default: `adapt`, or the first call of `fit`, sets the first layers to
  the best Gaussian of the rows, for splines to the Gaussian copula, and with a context to the best linear regression on
  it, and training goes on from there. "standardized": each feature to mean 0 and deviation 1 alone.
- `base`: the density of the latents, as in `Flow`; None is the standard normal, unless a family says otherwise.

Each feature is standardised inside of the flow, by the data that `adapt`, or the first call of `fit`, is given. So is a
context that no embedding reads.
"""

from flowkit._shipped import closest, preset_folders, shipped_preset
from flowkit.flow.flow import Flow
from flowkit.zoo.continuous import ffjord, flow_matching
from flowkit.zoo.couplings import circular_nsf, nice, nsf, realnvp
from flowkit.zoo.family import table_front
from flowkit.zoo.images import flow_pp, glow, jet, maf_images, realnvp_images, tarflow
from flowkit.zoo.labelled import LabelledFlow
from flowkit.zoo.masked import bernstein, iaf, maf, naf, nsf_autoregressive, sos, umnn
from flowkit.zoo.repeated import bnaf, gaussianization, planar, radial, residual, sylvester

_VECTORS = (
    *(nsf, nsf_autoregressive, realnvp, nice, maf, iaf, naf, bnaf, umnn, bernstein, sos),
    *(gaussianization, residual, planar, radial, sylvester, circular_nsf),
)
VECTORS = {family.__name__: family for family in _VECTORS}
# Names that a recipe may use; the first seven are families of images, "flow_matching" also one of vectors.
_OTHERS = (glow, flow_pp, realnvp_images, flow_matching, jet, tarflow, maf_images, ffjord)
ARCHITECTURES = {family.__name__: family for family in _OTHERS} | VECTORS

__all__ = ["ARCHITECTURES", "VECTORS", "LabelledFlow", "load", "pretrained", "table_front", *ARCHITECTURES]


def load(name: str) -> Flow:
    """Return the flow `name`, trained by the recipe of that name, on any backend.

    `flowkit.zoo.pretrained()` lists the names. `Flow.from_preset(name)` also takes folders and the hub. An installed
    flowkit downloads large weights once and keeps them in ~/.cache/flowkit.

    Raises ValueError for an unknown name and for damaged files, ConnectionError if a download fails.

    >>> flow = load("glow/fashion-mnist")
    >>> flow.sample(2, temperature=0.7, seed=0).shape
    (2, 28, 28, 1)
    """
    folder = shipped_preset(name)
    if folder is None:
        raise ValueError(
            f"zoo.load: got {name!r}, expected a trained flow; {closest(name, preset_folders())}."
        )
    return Flow.from_preset(folder)


def pretrained() -> list[str]:
    """Return the names that `load` takes.

    >>> print(*pretrained(), sep="  ")  # doctest: +ELLIPSIS
    glow/digits  glow/digits-conditional  glow/emoji32  ...  maf_images/fashion-mnist-full  nsf/magic
    """
    return sorted(preset_folders())
