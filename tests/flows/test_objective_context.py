"""What an objective of one's own receives, and how it embeds the context."""

import keras
import numpy as np
from keras import ops

from flowkit import Flow
from flowkit.bijectors import Coupling
from flowkit.conditioners import MLP
from flowkit.objectives import MaximumLikelihood, Objective


@keras.saving.register_keras_serializable("flowkit-tests")
class OfParts(Objective):
    """-log p(x), of the flow's parts."""

    def __call__(self, flow, x, context):
        seen = flow.embed(context)
        z, log_det = flow.bijector(x, context=seen)
        return -flow.base.log_prob(z, context=seen) - log_det


def conditional():
    flow = Flow(
        Coupling(MLP([8], context="required")),
        embedding=keras.Sequential([keras.layers.Dense(3)]),
        name="flow",
    )
    flow.build({"x": (None, 4), "context": (None, 2)})
    return flow


def test_embed_is_what_bijector_and_base_receive(x, context):
    one, other = conditional(), conditional()
    other.set_weights(one.get_weights())
    assert tuple(one.embed(ops.convert_to_tensor(context)).shape) == (20, 3)
    losses = []
    for flow, objective in ((one, OfParts()), (other, MaximumLikelihood())):
        flow.compile(keras.optimizers.SGD(0.1), loss=objective)
        fit = flow.fit(x, context=context, epochs=2, batch_size=20, shuffle=False, verbose=0)
        losses.append(fit.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_without_an_embedding_it_is_the_context_itself(context):
    flow = Flow(Coupling(MLP([8], context="required")))
    assert flow.embed(context) is context
