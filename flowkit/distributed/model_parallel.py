"""Split the coupling networks of a Glow over devices, if one device cannot hold them."""

from typing import Any

import keras

from flowkit.engines import engine

# The axis of a `ConvNet`'s kernels, (height, width, in, out), that is split. The second layer reads its input split as
# the first one leaves it, and the devices add up their parts of its output: nothing is exchanged between the two.
# The kernels of a `Repeat` have a leading axis.
_AXES = {"_l_1_W": -1, "_l_2_W": -2, "_l_last_W": -1}


def model_parallel(mesh: "keras.distribution.DeviceMesh") -> "keras.distribution.ModelParallel":
    """Return the Keras distribution that splits coupling networks of image flows over the last axis of `mesh`.

    Works on JAX, in one process. Call `keras.distribution.set_distribution(model_parallel(mesh))` before the flow is
    made. The first axis of the mesh shares the batch. The first two kernels of each `flowkit.conditioners.ConvNet`,
    which have nearly all weights of a Glow, are split, and the last one if the devices divide its output channels; so
    are their moments and averages in the optimizer. All other weights are whole on each device. Weights after training
    are those of one device to rounding, and `flow.save` writes them whole.

    Raises NotImplementedError on other backends and in a group of processes. JAX raises ValueError, when the flow is
    made, for a `width` that the devices cannot share.

    >>> devices = keras.distribution.list_devices()  # doctest: +SKIP
    >>> mesh = keras.distribution.DeviceMesh((1, 4), ("batch", "model"), devices)  # doctest: +SKIP
    >>> keras.distribution.set_distribution(model_parallel(mesh))  # doctest: +SKIP
    """
    if engine.name != "jax":
        raise NotImplementedError(
            f"model_parallel: got the backend {engine.name}, where Keras splits no weights, expected JAX. Set "
            "KERAS_BACKEND=jax, or make activations small with backprop='reversible'."
        )
    if engine.processes() > 1:
        raise NotImplementedError(
            f"model_parallel: got a group of {engine.processes()} processes, expected one that sees all devices. "
            "Start one process for the host."
        )
    return _Split(layout_map=keras.distribution.LayoutMap(mesh))


class _Split(keras.distribution.ModelParallel):
    """Keras's `ModelParallel`, with layouts that depend on the shape of a weight as well as on its path."""

    def get_variable_layout(self, variable: Any) -> Any:
        layout = getattr(variable, "_layout", None)
        if layout is not None:  # set by the user, as in Keras
            return layout
        path = "/" + variable.path
        name = next((name for name in _AXES if path.replace("/", "_").endswith(name)), None)
        axes: list[str | None] = [None] * len(variable.shape)
        parts, along = self.device_mesh.shape[-1], self.device_mesh.axis_names[-1]
        if name is not None:
            channels = variable.shape[_AXES[name]]
            if channels % parts == 0 or name != "_l_last_W":  # JAX refuses others that do not divide
                axes[_AXES[name]] = along
        return keras.distribution.TensorLayout(axes, self.device_mesh)
