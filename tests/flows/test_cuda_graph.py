"""`compile(cuda_graph=True)` where nothing can be recorded; tests/on_a_card has where it can."""

import keras
import numpy as np
import pytest

from flowkit import Flow, backends
from flowkit.bijectors import Scale


@pytest.mark.skipif(not backends.SUPPORTS_TRAINING, reason="nothing is trained on this engine")
def test_it_is_refused_with_words_and_leaves_a_flow_that_trains():
    if "cuda" in str(getattr(keras.ops.zeros(()), "device", "")):
        pytest.skip("there is a card")
    flow = Flow(Scale())
    engine = (
        "CUDA devices, received a flow on cpu"
        if backends.name() == "torch"
        else f"a flow on {backends.name()}"
    )
    with pytest.raises(NotImplementedError, match=f"cuda_graph=True records .*{engine}"):
        flow.compile("adam", cuda_graph=True)
    assert not flow.cuda_graph
    flow.fit(np.ones((4, 2), "float32"), verbose=0)
