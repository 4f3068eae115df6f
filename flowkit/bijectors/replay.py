"""Run parts once more in the backward pass: the checks before, the run, and the error of rebuilt inputs."""

import math
import warnings
from typing import Annotated

import keras

from flowkit import engines
from flowkit.bijectors.composite import Composite, compose
from flowkit.contract import ContractError
from flowkit.contract.arguments import words
from flowkit.contract.call import Call
from flowkit.contract.errors import label
from flowkit.contract.inside import layers_inside
from flowkit.contract.precision import rounding_unit
from flowkit.engines import engine

Backprop = Annotated[str, words("stored", "recompute", "reversible")]
"""What is kept for the backward pass."""


def changes(layer):
    """Return why a layer gives another output if it runs again, or changes weights; None if it does neither."""
    if any(v.name.endswith("seed_generator_state") for v in layer.variables):
        return "draws random numbers"
    if getattr(layer, "activity_regularizer", None) is not None:
        return "adds to the loss"
    moving = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization)
    return "moves its statistics in training" if isinstance(layer, moving) else None


class Replayed(Composite):
    """Base class of `Chain` and `Repeat`: members one after another, which run again backwards unless "stored"."""

    def _declare(self):
        """Set the spec from those of the members, of which some are known once they are built.

        Raises ContractError for members that do not go with `backprop`.
        """
        self.spec = compose(self, self._members)
        if self.backprop == "reversible" and self.spec.inverse != "analytic":
            wanted = "inverses in closed form, for backprop='reversible'"
            received = f"a part whose inverse is {self.spec.inverse}"
            hint = "Use backprop='recompute'."
            raise ContractError("backprop", self, expected=wanted, received=received, hint=hint)
        if self.backprop != "stored" and self.spec.noise != "none":
            wanted = f"parts without noise, for backprop={self.backprop!r}"
            received = f"a part with noise={self.spec.noise!r}"
            hint = "Put it beside this chain, in one with backprop='stored'."
            raise ContractError("backprop", self, expected=wanted, received=received, hint=hint)

    def _declare_built(self):
        """Set the spec again, and raise for a part that does not give the same, or changes weights, if run again."""
        self._declare()
        for layer in layers_inside(self) if self.backprop != "stored" else ():
            if (reason := changes(layer)) is not None:
                wanted = f"parts that give the same each time they run, for backprop={self.backprop!r}"
                received = f"{label(layer)}, which {reason}"
                hint = "Leave it out, or use backprop='stored'."
                raise ContractError("backprop", self, expected=wanted, received=received, hint=hint)

    def _visit(self, x, context, noise, visit):
        total = 0.0
        for part, share in zip(self._members, self._split_noise(noise, x, inverse=False), strict=True):
            found = visit(part, x, share)
            if found is True:
                break
            x, log_det = found or part.run(x, Call(context), share)
            total = total + log_det
        return x, total


def replay(owner, parts, x, call):
    """Run `parts` of `owner`, a Chain or Repeat, so that the backward pass runs them once more: (output, log-det)."""
    invert = owner.backprop == "reversible"
    parts = smallest(parts) if invert else parts
    return engine.backprop(
        lambda: [_stretch(part) for part in parts],  # called where compilers do not look
        x,
        call,
        invert=invert,
        tolerance=owner._drift.tolerance,
        on_drift=owner._drift.tell,
    )


def _stretch(part):
    if hasattr(part, "stretch"):
        return part.stretch()
    values = [variable.value for variable in part.variables]
    return engines.Stretch([part], [part.variables], [values], None)


def smallest(parts):
    """Return the parts, with those of a composite in its place: small parts need less memory at a time."""
    flat = []
    for part in parts:
        flat += smallest(part.parts) if part.composite and hasattr(part, "parts") else [part]
    return flat


class Drift:
    """The relative error of the inputs that a reversible layer rebuilds, and the warning about it.

    Nine bits of rounding pass, which is 6e-5 in float32, and no less than the rounding of the networks: the error of
    gradients was seen to be as large.
    """

    def __init__(self, owner):
        self.owner, self.worst = owner, 0.0
        dtypes = {layer.compute_dtype for layer in layers_inside(owner)}
        networks = [rounding_unit(dtype) for dtype in dtypes if "float" in dtype]
        self.tolerance = max(2**9 * rounding_unit(owner.compute_dtype), *networks)

    def tell(self, error: float) -> None:
        """Warn of the first input that was rebuilt with this relative error, and of any that is ten times worse."""
        error = math.inf if math.isnan(error) else error
        if error > 10 * self.worst:
            self.worst = error
            warnings.warn(
                f"{label(self.owner)}: in the backward pass its input was rebuilt with a relative error of "
                f"{error:.1g}, expected at most {self.tolerance:.1g}, and gradients are as inexact. Use "
                "backprop='recompute', or several shorter chains in place of this one.",
                stacklevel=3,
            )
