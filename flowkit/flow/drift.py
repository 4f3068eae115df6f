"""Which parts of a model tell of drift: of inputs that the backward pass found by inversion, and not exactly."""

from collections.abc import Callable

import keras

from flowkit.bijectors import Chain


def drift_reports(model: keras.Model) -> list[Callable[[float], None]]:
    """What each reversible chain of `model` does with the relative error of its input, if that is too large."""
    return [
        layer.tell_drift
        for layer in model._flatten_layers()
        if isinstance(layer, Chain) and layer.backprop == "reversible"
    ]
