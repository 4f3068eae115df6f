"""The base class of every bijector."""

from flowkit.contract.flow_layer import FlowLayer


class Bijector(FlowLayer):
    """An invertible map: `z, log_det = bijector(x)` and `x, log_det = bijector.inverse(z)`.

    `x` is (batch, *event), channels last. `log_det` is log|det d output / d input| of the direction
    that was called, shape (batch,), never below float32. Neither direction changes state.

    Authors write two hooks, and `build`, `get_config` and `_adapt` if they are needed. The hooks
    take `context` as a second argument exactly if `spec.context` is not "none", `noise=` exactly if the spec
    says that this direction draws, and may return a scalar log-det if it does not depend on x:

    >>> from keras import ops
    >>> from flowkit.contract import BijectorSpec
    >>> class Twice(Bijector):
    ...     spec = BijectorSpec(log_det="constant")
    ...     def _forward(self, x):
    ...         return 2 * x, ops.log(2.0) * x.shape[-1]
    ...     def _inverse(self, z):
    ...         return z / 2, -ops.log(2.0) * z.shape[-1]
    >>> z, log_det = Twice()(ops.ones((5, 3)))
    >>> tuple(log_det.shape)
    (5,)

    The maths of a bijector runs in its variables' dtype and at least in float32: under a mixed
    policy only the conditioner networks compute in low precision.

    - `noise_size(x_shape)`, if the spec has noise: how many numbers the hooks are given for a sample, as one flat
      tensor (batch, k) of standard normals (of uniform numbers if `noise_kind` is "uniform"). Both directions must
      undo each other whatever they are; only the log-det may be a random estimate.
    - `_refresh(x)` is called once in a training step, and may assign to weights that are not trained.
    """
