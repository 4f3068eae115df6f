"""A Glow whose coupling networks are split over devices, since one device could not hold them."""

from typing import Any

import keras

from flowkit.engines import engine

# Which axis of a `ConvNet`'s kernels, (height, width, in, out), is split. What the second layer reads is split as the
# first one leaves it, and what the devices make of their parts is added up: between the two nothing is handed on.
_AXES = {"l_1/W": 3, "l_2/W": 2, "l_last/W": 3}


def model_parallel(mesh: "keras.distribution.DeviceMesh") -> "keras.distribution.ModelParallel":
    """How Keras is to split the coupling networks of image flows over the last axis of `mesh`; on JAX, in one process.

    `keras.distribution.set_distribution(model_parallel(mesh))` comes before the flow is made. The first axis of the
    mesh shares the batch. Of each `flowkit.conditioners.ConvNet`, which have nearly all weights of a Glow, the first
    two kernels are split, and the last one if its output channels divide; so are their moments and averages in the
    optimizer. All other weights are whole on each device. Weights after training are those of one device to rounding,
    and `flow.save` writes them whole.

    Raises NotImplementedError on other engines and in a group of processes, ValueError for a mesh of one axis, and,
    when the flow is made, for a `width` that the devices cannot share.

    >>> devices = keras.distribution.list_devices()  # doctest: +SKIP
    >>> mesh = keras.distribution.DeviceMesh((1, 4), ("batch", "model"), devices)  # doctest: +SKIP
    >>> keras.distribution.set_distribution(model_parallel(mesh))  # doctest: +SKIP
    """
    if engine.name != "jax":
        raise NotImplementedError(
            f"model_parallel works on JAX, received the engine {engine.name}, where Keras splits no weights: set "
            "KERAS_BACKEND=jax, or make activations small with backprop='reversible'."
        )
    if engine.processes() > 1:
        raise NotImplementedError(
            f"model_parallel expects one process that sees all devices, received a group of {engine.processes()}: "
            "start one process for the host."
        )
    if len(mesh.shape) < 2:
        raise ValueError(
            f"mesh: expected two axes, one that shares the batch and one that splits kernels, received the shape "
            f"{tuple(mesh.shape)}. To share the batch alone needs no mesh: flowkit.distributed.start()."
        )
    return _Split(layout_map=keras.distribution.LayoutMap(mesh))


class _Split(keras.distribution.ModelParallel):
    """Keras's, which looks at the shape of a weight as well as at its path."""

    def get_variable_layout(self, variable: Any) -> Any:
        if getattr(variable, "_layout", None) is not None:  # which somebody has given it, as in Keras
            return variable._layout
        name = "/".join(variable.path.split("/")[-2:])
        axes: list[str | None] = [None] * len(variable.shape)
        parts, along = self.device_mesh.shape[-1], self.device_mesh.axis_names[-1]
        if name in _AXES:
            channels = variable.shape[_AXES[name]]
            if channels % parts == 0:
                axes[_AXES[name]] = along
            elif name != "l_last/W":
                raise ValueError(
                    f"model_parallel expects a width that {parts} devices can share, received {channels}. The next is "
                    f"{-(-channels // parts) * parts}."
                )
        return keras.distribution.TensorLayout(axes, self.device_mesh)
