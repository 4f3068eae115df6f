"""What comes out has the shape and dtype that the layer says."""

import keras

from flowkit.testing import inputs
from flowkit.testing.clause import clause
from flowkit.testing.judging import SIDES, require


@clause(
    "log-det shape",
    "log_det has shape (batch,) and at least float32; the output has the layer's dtype, in which both "
    "directions compute",
    hint="Sum over the event, not over the batch; return ops.zeros of shape (batch,), or a scalar.",
    per="event",
)
def log_det_shape(trial):
    dtype = trial.layer32.compute_dtype
    for inverse, points in trial.directions:
        side = SIDES[inverse]
        for rows in (len(points), 1):
            context = inputs.rows(trial.context, slice(rows))
            value, log_det = trial.call32(points[:rows], context, inverse)
            require(
                log_det.shape == (rows,),
                f"a log_det of shape ({rows},) from {side}",
                f"shape {log_det.shape}",
            )
            found = log_det.dtype.name
            require(found in ("float32", "float64"), f"a log_det of at least float32 from {side}", found)
            found = value.dtype.name
            require(found == dtype, f"an output of dtype {dtype} from {side}", found)
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
        found = trial.call32(trial.z, trial.context, inverse=True)[0].shape[1:]
        require(found == trial.event, f"inverse to return events of shape {trial.event}", f"{found}")
    context = inputs.placeholder(trial.context)
    for inverse, _ in trial.directions:
        event, other = trial.events(inverse)
        value, log_det = layer(keras.Input(event), context=context, inverse=inverse)
        require(
            tuple(value.shape) == (None, *other) and tuple(log_det.shape) == (None,),
            f"symbolic outputs of shape {(None, *other)} and (None,) from {SIDES[inverse]}",
            f"{tuple(value.shape)} and {tuple(log_det.shape)}",
        )


def _same(what, shape, batch, value):
    expected = (batch, *value.shape[1:])
    require(tuple(shape) == expected, f"{what} to answer {expected}", f"{tuple(shape)}")
