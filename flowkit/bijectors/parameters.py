"""How the output channels of a network are dealt to a shift and a scale."""

LAYOUTS = ("interleaved", "contiguous")
ORDERS = ("shift-scale", "scale-shift")


def shift_and_scale(h, layout, order="shift-scale"):
    """Split the last axis of `h` in two: every other channel, or the first half and the second.

    Published Glow interleaves in couplings and split priors and takes halves in the top prior; of
    its ports some take halves everywhere, and some put the scale first.
    """
    if layout == "interleaved":
        first, second = h[..., 0::2], h[..., 1::2]
    else:
        half = h.shape[-1] // 2
        first, second = h[..., :half], h[..., half:]
    return (first, second) if order == "shift-scale" else (second, first)


def one_of(name, value, words):
    """`value`, where it is one of `words`; ValueError otherwise."""
    if value not in words:
        raise ValueError(f"{name} expects one of {', '.join(map(repr, words))}, received {value!r}.")
    return value
