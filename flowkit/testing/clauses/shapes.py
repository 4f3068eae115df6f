"""What comes out has the shape and dtype that the layer says."""

import keras

from flowkit.testing.examples import ROWS
from flowkit.testing.inputs import placeholder
from flowkit.testing.judging import SIDES, clause, require


@clause("log-det shape", per="event")
def log_det_shape(trial):
    """Require log-dets (batch,) of at least float32, and outputs of the layer's dtype, in which directions compute.

    Hint: Sum over the event, not over the batch; return ops.zeros of shape (batch,), or a scalar.
    """
    dtype = trial.layer32.compute_dtype
    for inverse, given in trial.directions:
        side = SIDES[inverse]
        for rows in (len(given.x), 1):
            value, log_det = trial.run32(inverse, given.rows(slice(rows)))
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


@clause("shape inference", per="event")
def shape_inference(trial):
    """Require that compute_output_shape, compute_inverse_shape and a symbolic call give the shapes that come out.

    Hint: Write compute_output_shape and compute_inverse_shape for a map that changes shapes.
    """
    layer = trial.layer32
    for batch in (None, ROWS):
        if trial.subject.has(False):
            shape = layer.compute_output_shape((batch, *trial.event))
            _same("compute_output_shape", shape, batch, trial.measured_in(False).output.value)
        if trial.subject.has(True):
            shape = layer.compute_inverse_shape((batch, *trial.latent_event))
            _same("compute_inverse_shape", shape, batch, trial.points(False))
    if trial.subject.has(True):
        found = trial.run32(inverse=True)[0].shape[1:]
        require(found == trial.event, f"inverse to return events of shape {trial.event}", f"{found}")
    context = placeholder(trial.context)
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
