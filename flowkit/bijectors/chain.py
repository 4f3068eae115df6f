"""Bijectors one after another."""

import itertools
import math
import warnings

import keras

from flowkit import backends
from flowkit.bijectors.folding import fold
from flowkit.bijectors.repeats import repeats
from flowkit.contract import Bijector, BijectorSpec, ContractError, Domain
from flowkit.contract.arguments import one_of
from flowkit.contract.errors import label
from flowkit.contract.precision import rounding_unit
from flowkit.contract.spec import added_round_trips, weakest


@keras.saving.register_keras_serializable("flowkit")
class Chain(Bijector):
    """z = (f_n o ... o f_1)(x): `Chain([a, b])` is a, then b. Log-dets add up.

    `backprop` says what is kept for the backward pass. Values and gradients are the same.

    - "stored": all activations, as engines do; memory grows with depth.
    - "recompute": each part's input; the backward pass runs the part once more (Chen et al., Training
      Deep Nets with Sublinear Memory Cost, 2016). Couplings' networks, which need the most, keep nothing.
    - "reversible": the chain's input and output, whatever the depth; the backward pass finds each part's input
      by its inverse (Gomez et al., The Reversible Residual Network, 2017). Rounding adds up on the way
      back: a relative error of the input above 6e-5 (float32) is warned of, except if XLA has
      compiled TensorFlow's step, which cannot report.

    The last two cost a third more computation for couplings, as the network runs once more. They refuse second
    derivatives, and need parts that answer the same each time: no dropout.

    The spec follows from the parts. Raises ContractError, when it is made, for parts that do not
    fit: a codomain that is not the next part's domain, or an event rank that the next cannot take;
    with "reversible" for sequential and iterative inverses, and when it is built for a part that cannot be run once
    more.

    >>> from flowkit.bijectors import Exp, Shift
    >>> Chain([Shift(1.0), Exp()]).spec.codomain
    Domain(kind='interval', low=0.0, high=inf)
    """

    def __init__(self, parts, *, backprop="stored", **kwargs):
        super().__init__(**kwargs)
        self.parts = list(parts)
        self.backprop = one_of("Chain's backprop", backprop, ("stored", "recompute", "reversible"))
        for part in self.parts:
            if not isinstance(part, Bijector):
                raise TypeError(f"Chain expects bijectors, received {part!r}.")
        if len({id(part) for part in self.parts}) < len(self.parts):
            raise ValueError("Chain expects parts that differ, received one twice: a file would keep two.")
        self.spec = self._compose()
        self._drift_tolerance, self._worst_drift = self._find_drift_tolerance(), 0.0
        if backprop == "reversible" and self.spec.inverse != "analytic":
            raise ContractError(
                "backprop",
                self,
                expected="inverses in closed form, for backprop='reversible'",
                received=f"a part whose inverse is {self.spec.inverse}",
                hint="Use backprop='recompute'.",
            )

    def _compose(self):
        specs = [part.spec for part in self.parts]
        if not specs:
            return BijectorSpec(log_det="zero")
        domain, codomain = self._compose_domains()
        return BijectorSpec(
            event_rank=self._compose_rank(),
            event_multiple=specs[0].event_multiple,
            domain=domain,
            codomain=codomain,
            log_det=weakest(specs, "log_det"),
            forward=weakest(specs, "forward"),
            inverse=weakest(specs, "inverse"),
            round_trip=added_round_trips(specs),
            context=weakest(specs, "context"),
            rearranges=all(spec.rearranges for spec in specs),
        )

    def _compose_domains(self):
        """The first domain and the last codomain; what only rearranges lets the one beside it through."""
        parts = [p for p in self.parts if not p.spec.rearranges] or self.parts
        if any(Domain.SIMPLEX in (p.spec.domain, p.spec.codomain) for p in parts):
            parts = self.parts  # a sum over the last axis does not survive a change of places
        for one, next_ in itertools.pairwise(parts):
            if one.spec.codomain != next_.spec.domain:
                raise ContractError(
                    "domain",
                    self,
                    expected=f"{label(next_)} to receive its domain {next_.spec.domain}",
                    received=f"{one.spec.codomain}, the codomain of {label(one)}",
                    hint="Put a bijector between the two that maps one onto the other.",
                )
        return parts[0].spec.domain, parts[-1].spec.codomain

    def _compose_rank(self):
        """The rank that the data must have for every part to get one that it can take; None for any."""
        wanted = rank = None
        known = True  # whether `rank`, as far as it is known, is still that of the data
        for part in self.parts:
            takes = part.spec.event_rank
            if takes is not None:
                if rank is not None and not set(_ranks(takes)) & set(_ranks(rank)):
                    raise ContractError(
                        "event rank",
                        self,
                        expected=f"{label(part)} to receive events of rank {takes}",
                        received=f"events of rank {rank} from the parts before it",
                        hint="Put a Reshape or Flatten between them.",
                    )
                rank = takes
                wanted = rank if known and wanted is None else wanted
            after = part.latent_rank(rank)
            known = known and after == rank
            rank = after
        return wanted

    @property
    def num_classes(self):
        return next((p.num_classes for p in self.parts if p.num_classes is not None), None)

    def latent_rank(self, rank):
        for part in self.parts:
            rank = part.latent_rank(rank)
        return rank

    def build(self, x_shape, context_shape=None):
        for part in self.parts:
            part._check_shape(x_shape)
            part.build_for(x_shape, context_shape)
            x_shape = part.compute_output_shape(x_shape)
        if self.backprop != "stored":
            self._check_repeatable()

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        if self.built:  # before, some parts do not know yet what they give
            for part in self.parts:
                part._check_shape(x_shape)
                x_shape = part.compute_output_shape(x_shape)

    def run(self, x, context, inverse):
        if self.backprop != "stored":
            return self._backprop(x, context, inverse)
        if not backends.scans():
            return _run(self.parts, x, context, inverse)
        total, runs = 0.0, repeats(self.parts)
        for blocks in reversed(runs) if inverse else runs:
            x, log_det = backends.scan(_run, blocks, x, context, inverse)
            total = total + log_det
        return x, total

    # Gradients that save memory

    def _backprop(self, x, context, inverse):
        invert = self.backprop == "reversible"
        parts = self._flat() if invert else self.parts
        return backends.backprop(
            parts[::-1] if inverse else parts,
            x,
            context,
            inverse,
            invert=invert,
            tolerance=self._drift_tolerance,
            on_drift=self._warn_of_drift,
        )

    def _flat(self):
        """The parts, and in place of a chain its parts: the smaller a part, the less is held at a time."""
        flat = []
        for part in self.parts:
            flat += part._flat() if isinstance(part, Chain) else [part]
        return flat

    def _find_drift_tolerance(self):
        """The relative error of a rebuilt input that passes: that of gradients was seen to be as large.

        Nine bits of rounding, which is 6e-5 in float32; and no less than the rounding of the networks.
        """
        dtypes = {layer.compute_dtype for layer in self._flatten_layers()}
        networks = [rounding_unit(dtype) for dtype in dtypes if "float" in dtype]
        return max(2**9 * rounding_unit(self.compute_dtype), *networks)

    def _warn_of_drift(self, error):
        """Warn the first time, and again whenever it is ten times worse."""
        error = math.inf if math.isnan(error) else error
        if error > 10 * self._worst_drift:
            self._worst_drift = error
            warnings.warn(
                f"{label(self)}: in the backward pass its input was rebuilt with a relative error of {error:.1g}, "
                f"expected at most {self._drift_tolerance:.1g}, and gradients are as inexact. Use "
                "backprop='recompute', or several shorter chains in place of this one.",
                stacklevel=2,
            )

    def _check_repeatable(self):
        """Raise for a part that does not answer the same when it is run once more."""
        for layer in self._flatten_layers():
            seeds = [v for v in layer.variables if v.name == "seed_generator_state"]
            if seeds or getattr(layer, "activity_regularizer", None) is not None:
                raise ContractError(
                    "backprop",
                    self,
                    expected=f"parts that give the same each time they run, for backprop={self.backprop!r}",
                    received=f"{label(layer)}, which {'draws random numbers' if seeds else 'adds to the loss'}",
                    hint="Leave it out, or use backprop='stored'.",
                )

    def run_adapt(self, x, context, again=True):
        for part in self.parts:
            part.run_adapt(x, context, again)
            x, _ = part.run(x, context, inverse=False)

    def run_adapt_inverse(self, z, context, again=True):
        for part in reversed(self.parts):
            part.run_adapt_inverse(z, context, again)
            z, _ = part.run(z, context, inverse=True)

    def compute_output_shape(self, input_shape):
        for part in self.parts:
            input_shape = part.compute_output_shape(input_shape)
        return input_shape

    def compute_inverse_shape(self, latent_shape):
        for part in reversed(self.parts):
            latent_shape = part.compute_inverse_shape(latent_shape)
        return latent_shape

    def get_config(self):
        return {
            **super().get_config(),
            "parts": [keras.saving.serialize_keras_object(p) for p in self.parts],
            "backprop": self.backprop,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"parts": [keras.saving.deserialize_keras_object(p) for p in config["parts"]]})


def _run(parts, x, context, inverse):
    total, parts = 0.0, fold(parts)
    for part in reversed(parts) if inverse else parts:
        x, log_det = backends.run_part(part, x, context, inverse)
        total = total + log_det
    return x, total


def _ranks(rank):
    return (rank,) if isinstance(rank, int) else rank
