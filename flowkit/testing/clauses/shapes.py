"""What comes out has the shape and dtype that the layer says."""

import keras

from flowkit.testing.clauses.clause import clause
from flowkit.testing.given import contexts
from flowkit.testing.verdicts.broken import Broken


@clause(
    "log-det shape",
    "log_det has shape (batch,) and at least float32; the output has the layer's dtype, in which both "
    "directions compute",
    hint="Sum over the event, not over the batch; return ops.zeros of shape (batch,), or a scalar.",
    per="event",
)
def log_det_shape(trial):
    for inverse, points in trial.directions:
        for rows in (len(points), 1):
            context = contexts.rows(trial.context, slice(rows))
            value, log_det = trial.call32(points[:rows], context, inverse)
            side = "inverse" if inverse else "forward"
            if log_det.shape != (rows,):
                raise Broken(f"a log_det of shape ({rows},) from {side}", f"shape {log_det.shape}")
            if log_det.dtype.name not in ("float32", "float64"):
                raise Broken(f"a log_det of at least float32 from {side}", log_det.dtype.name)
            if value.dtype.name != trial.layer32.compute_dtype:
                raise Broken(
                    f"an output of dtype {trial.layer32.compute_dtype} from {side}", value.dtype.name
                )
        trial.unit_of(inverse)  # raises Broken for a cast below that dtype


@clause(
    "shape inference",
    "compute_output_shape, compute_inverse_shape and a symbolic call tell the shapes that come out",
    hint="Write compute_output_shape and compute_inverse_shape for a map that changes shapes.",
    per="event",
)
def shape_inference(trial):
    layer = trial.layer32
    for batch in (None, len(trial.x)):
        if trial.subject.has(False):
            shape = layer.compute_output_shape((batch, *trial.event))
            _same("compute_output_shape", shape, batch, trial.there.value)
        if trial.subject.has(True):
            shape = layer.compute_inverse_shape((batch, *trial.latent_event))
            _same("compute_inverse_shape", shape, batch, trial.x)
    if trial.subject.no_inverse is None:
        value, _ = trial.call32(trial.z, trial.context, inverse=True)
        if value.shape[1:] != trial.event:
            raise Broken(f"inverse to return events of shape {trial.event}", f"{value.shape[1:]}")
    context = contexts.placeholder(trial.context)
    for inverse, _ in trial.directions:
        event, other = trial.event, trial.latent_event
        if inverse:
            event, other = other, event
        given = keras.Input(event)
        value, log_det = layer(given, context=context, inverse=inverse)
        side = "inverse" if inverse else "forward"
        if tuple(value.shape) != (None, *other) or tuple(log_det.shape) != (None,):
            raise Broken(
                f"symbolic outputs of shape {(None, *other)} and (None,) from {side}",
                f"{tuple(value.shape)} and {tuple(log_det.shape)}",
            )


def _same(what, shape, batch, value):
    if tuple(shape) != (batch, *value.shape[1:]):
        raise Broken(f"{what} to answer {(batch, *value.shape[1:])}", f"{tuple(shape)}")
