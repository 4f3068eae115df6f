"""The hooks of a flow's layer that its author may write, and their defaults."""

import difflib
from typing import TYPE_CHECKING, Any

import keras

from flowkit.contract.configured import Configured
from flowkit.contract.errors import label
from flowkit.contract.spec import BijectorSpec


class Hooks(Configured, keras.Layer):
    """The attributes and methods of a `FlowLayer` that its author may write. The layer runs and checks them.

    - `noise_kind`: the distribution of its noise, "normal" (standard) or "uniform" (in [0, 1)).
    - `rows_to_adapt`: the number of rows that `adapt` needs, if the data have so many.
    - `_derive(x_shape, inverse)`, optional: a dict of tensors that depend on the weights alone. `_forward` and
      `_inverse` receive it as `derived=`. It works for weights with leading axes, so that a `Repeat` derives for all
      copies at once: write it with negative axes (`scale[..., None, :]`, `axis=-1`, `swapaxes(-1, -2)`).
    """

    noise_kind = "normal"
    rows_to_adapt = 0  # a batch will do
    composite = False  # whether it runs other layers, its `parts`, one after another
    spec = BijectorSpec()

    # To a type checker any arguments will do, since a hook declares those that its spec names.

    if TYPE_CHECKING:

        def build(self, *args: Any, **kwargs: Any) -> None:
            """Declare any arguments: Keras's own has another name for its argument."""

    def _forward(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        raise NotImplementedError(missing_hook(self, "_forward", "x"))

    def _inverse(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        raise NotImplementedError(missing_hook(self, "_inverse", "z"))

    def _adapt(self, *args: Any, **kwargs: Any) -> None:
        """Set what depends on data; nothing by default."""

    def _adapt_inverse(self, *args: Any, **kwargs: Any) -> None:
        """Adapt to latents, where there are no data."""
        if not self.adapted:
            raise NotImplementedError(
                f"{label(self)} cannot be adapted from the side of its latents, as training without data and Inverse "
                "do: it takes its statistics from data. Call .adapt(x) on data first, or write _adapt_inverse(self, z)."
            )

    def _refresh(self, *args: Any, **kwargs: Any) -> None:
        """Refresh what changes once in a training step, such as a running mean; nothing by default."""

    def noise_size(self, x_shape: Any) -> int:
        """Return how many random numbers the hooks need for a sample of data of `x_shape`."""
        raise NotImplementedError(
            f"{type(self).__name__} has noise in its spec, and no noise_size(self, x_shape)."
        )

    @property
    def num_classes(self) -> int | None:
        """Return how many classes the labels of a class-conditional bijector may name; None for no labels."""
        return None

    # The shapes of a map that changes them

    def latent_rank(self, rank: int | None) -> int | None:
        """Return the rank of a latent event for data events of `rank`; None if it depends."""
        return rank

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the latent's shape for data of `input_shape`."""
        return input_shape

    def compute_inverse_shape(self, latent_shape: Any) -> Any:
        """Return the data's shape for latents of `latent_shape`."""
        return latent_shape


def missing_hook(layer: Any, hook: str, given: str) -> str:
    """Return the message for a `hook` that a layer's author has not written, `given` being its argument.

    A method whose name is nearly the hook's is named.
    """
    said = f"{type(layer).__name__} has no {hook}(self, {given})"
    if near := difflib.get_close_matches(hook, _written_by_authors(layer), n=1, cutoff=0.8):
        return f"{said}, but {near[0]}: rename that to {hook}."
    return f"{said}."


def refuse_public_names(kind: type, base: type) -> None:
    """Raise TypeError for a class that writes `forward` or `inverse`, as other libraries call the two directions.

    The first is what PyTorch runs of every Keras layer. The second is the base's call of the hook, and stands in
    nobody's way if the hook is there too.
    """
    for name in ("forward", "inverse"):
        hook = f"_{name}"
        if name in vars(kind) and (name == "forward" or getattr(kind, hook) is getattr(base, hook)):
            raise TypeError(
                f"{kind.__name__} expects its hooks as _forward(self, x) and _inverse(self, z), received {name}: "
                f"rename that to {hook}, since the layer itself is called."
            )


def _written_by_authors(layer):
    """Return the methods of a layer's own classes, before those of flowkit's contract."""
    names = []
    for kind in type(layer).__mro__:
        if kind.__module__.startswith("flowkit.contract."):
            break
        names += [name for name, value in vars(kind).items() if callable(value)]
    return names
