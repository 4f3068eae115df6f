"""The bits per dimension of each level of a multi-scale flow."""

import math

import numpy as np

from flowkit.bijectors.levels import level_sizes
from flowkit.contract import Context, Tensor
from flowkit.diagnostics.finding import BLUE, GREY, Finding, plot
from flowkit.evaluation import level_bits
from flowkit.flow.flow import Flow


def level_shares(
    flow: Flow, x: Tensor, context: Context = None, *, batch_size: int | None = None, seed: int = 0
) -> Finding:
    """Divide the bits per dimension among the levels: `flowkit.evaluation.level_bits`, in the mean over `x`.

    Raises ValueError for a flow without levels.

    >>> from flowkit import zoo
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype="uint8")
    >>> flow = zoo.glow(levels=2, steps=1, width=4).adapt(images)
    >>> level_shares(flow, images).numbers["latents"]
    [8, 8]
    """
    bits = level_bits(flow, x, context, batch_size=batch_size, seed=seed).astype("float64")
    mean = bits.mean(axis=0)
    error = bits.std(axis=0, ddof=1) / math.sqrt(len(bits)) if len(bits) > 1 else np.full(len(mean), math.nan)
    sizes = level_sizes(flow.bijector, "level_shares")
    shares = ", ".join(
        f"level {i} {b:.3f} ({b / mean.sum():.0%} of them in {s / sum(sizes):.0%} of the latents)"
        for i, (b, s) in enumerate(zip(mean, sizes, strict=True))
    )
    return Finding(
        "levels",
        f"Of {mean.sum():.3f} bits per dimension: {shares}.",
        {
            "rows": len(bits),
            "bits_per_dim": mean.tolist(),
            "standard_error": error.tolist(),
            "latents": sizes,
        },
        None,
        lambda: _draw(mean, error, sizes),
    )


def _draw(mean, error, sizes):
    figure, axes = plot("level", "bits per dimension of the data")
    places = np.arange(len(mean))
    axes.bar(places, mean, yerr=error, color=BLUE, label="carried")
    share = mean.sum() * np.asarray(sizes) / sum(sizes)
    axes.scatter(places, share, marker="_", s=900, color=GREY, label="if each latent carried as much")
    axes.set_xticks(places)
    axes.legend(fontsize=8, markerscale=0.3)
    return figure
