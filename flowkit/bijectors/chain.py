"""Bijectors one after another."""

import itertools

import warnings

import keras

from flowkit import backends
from flowkit.bijectors.parameters import one_of
from flowkit.contract import Bijector, BijectorSpec, ContractError, Domain
from flowkit.contract.errors import label
from flowkit.contract.spec import weakest


@keras.saving.register_keras_serializable("flowkit")
class Chain(Bijector):
    """z = (f_n o ... o f_1)(x): `Chain([a, b])` is a, then b. Log-dets add up.

    The spec follows from the parts. Raises ContractError, when it is made, for parts that do not
    fit: a codomain that is not the next part's domain, or an event rank that the next cannot take.

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
            inverse=weakest(specs, "inverse"),
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

    def _check_shape(self, x_shape):
        super()._check_shape(x_shape)
        if self.built:  # before, some parts do not know yet what they give
            for part in self.parts:
                part._check_shape(x_shape)
                x_shape = part.compute_output_shape(x_shape)

    def run(self, x, context, inverse):
        if self.backprop != "stored":
            return self._replay(x, context, inverse)
        total = 0.0
        for part in reversed(self.parts) if inverse else self.parts:
            x, log_det = part.run(x, context, inverse)
            total = total + log_det
        return x, total

    def _replay(self, x, context, inverse):
        invert = self.backprop == "reversible"
        parts = self._flat() if invert else self.parts
        return backends.replay(
            parts[::-1] if inverse else parts,
            x,
            context,
            inverse,
            invert=invert,
            tolerance=self._tolerance(),
            on_drift=self._warn_of_drift,
        )

    def _flat(self):
        """The parts, and in place of a chain its parts: the smaller a part, the less is held at a time."""
        flat = []
        for part in self.parts:
            flat += part._flat() if isinstance(part, Chain) else [part]
        return flat

    def _tolerance(self):
        return 1e-3

    def _warn_of_drift(self, error):
        warnings.warn("drift %g" % error)

    def run_adapt(self, x, context, again=True):
        for part in self.parts:
            part.run_adapt(x, context, again)
            x, _ = part.run(x, context, inverse=False)

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


def _ranks(rank):
    return (rank,) if isinstance(rank, int) else rank
