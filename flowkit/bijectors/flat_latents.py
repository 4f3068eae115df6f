"""Latents of several levels as one flat tensor, and taken apart again."""

import math
from typing import Any

import numpy as np
from keras import ops

from flowkit.bijectors.levels import level_shapes
from flowkit.contract import Bijector, ContractError
from flowkit.contract.shapes import as_tuple
from flowkit.engines import engine


class FlatLatents(Bijector):
    """The part of `MultiScale` that knows where each level's latents lie in (batch, dim)."""

    event: tuple[int, ...]
    latent_events: list[tuple[int, ...]]

    def split_latents(self, z: Any) -> list[Any]:
        """The flat latents (batch, dim) as one map (batch, h, w, c) for each level."""
        self._require_size()
        parts, start = [], 0
        for event in self.latent_events:
            stop = start + math.prod(event)
            parts.append(engine.reshape(z[:, start:stop], (-1, *event)))
            start = stop
        return parts

    def join_latents(self, parts: Any) -> Any:
        """One map for each level, as from `split_latents`, as flat latents (batch, dim)."""
        self._require_size()
        flat = [engine.reshape(p, (-1, math.prod(e))) for p, e in zip(parts, self.latent_events, strict=True)]
        if any(isinstance(part, np.ndarray) for part in flat):  # from `flow.encode`
            return np.concatenate([ops.convert_to_numpy(part) for part in flat], axis=-1)
        return engine.concatenate(flat)

    def latent_rank(self, rank: int | None) -> int | None:
        return 1

    def compute_output_shape(self, input_shape: Any) -> Any:
        built = as_tuple(input_shape)[1:] == getattr(self, "event", None)
        left = self.latent_events if built else [z[1:] for _, z in level_shapes(self, as_tuple(input_shape))]
        return (input_shape[0], sum(map(math.prod, left)))

    def compute_inverse_shape(self, latent_shape: Any) -> Any:
        self._require_size()
        dim = self.compute_output_shape((None, *self.event))[1]
        if tuple(latent_shape[1:]) != (dim,):
            expected, received = f"flat latents (batch, {dim})", f"shape {tuple(latent_shape)}"
            raise ContractError("event shape", self, expected=expected, received=received)
        return (latent_shape[0], *self.event)

    def _require_size(self):
        if not hasattr(self, "event"):
            raise ContractError(
                "event shape",
                self,
                expected="to know the size of the data",
                received="latents before any data",
                hint="Call .build((None, height, width, channels)), or adapt or fit first.",
            )
