"""A `.keras` file written on the engine of this run, read by each engine with the other ones hidden."""

import json

import keras
import numpy as np
import pytest
from arrays import array
from tolerance import PARITY

from flowkit import Flow, zoo
from flowkit._engine import ENGINES, installed
from flowkit.bijectors import Chain, Coupling, Repeat
from flowkit.conditioners import MLP
from flowkit.distributions import Normal
from flowkit.engines import engine
from flowkit.surjections import StochasticPermute

READERS = [
    name for name in (*ENGINES, "numpy") if name != engine.name and (installed(name) or name == "numpy")
]

READ = """
    import json, sys
    from flowkit.flow import Flow  # and not the layers, which a config brings
    import keras, numpy as np
    folder = sys.argv[1]
    config = json.loads(sys.argv[2])
    assert repr(keras.saving.deserialize_keras_object(config).bijector) == "StochasticPermute()"
    import flowkit
    data = np.load(folder + "/data.npz")
    images, labels = data["images"], data["labels"]
    flow = keras.saving.load_model(folder + "/flow.keras")
    flow = flow if isinstance(flow, flowkit.Flow) else None
    answer = {
        "engine": flowkit.engines.engine.name,
        "loaded": [engine for engine in flowkit.engines.ENGINES if engine in sys.modules],
        "optimizer": type(flow.optimizer).__name__,
        "rate": float(flow.optimizer.learning_rate),
        "log_prob": flow.log_prob(images, labels).tolist(),
        "bits": flow.bits_per_dim(images, labels, samples=2).tolist(),
        "latents": flow.encode(images, labels).tolist(),
        "decoded": flow.decode(data["latents"], labels).tolist(),
        "sampled": flow.sample(2, context=labels[:3], seed=0).tolist(),
        "again": flow.sample(2, context=labels[:3], seed=0).tolist(),
    }
    try:
        if flowkit.engines.engine.name == "numpy":
            flow.compile()
            flow.fit(images, context=labels)
    except NotImplementedError as error:
        answer["fit"] = str(error)
    with open(folder + "/answer.json", "w") as file:
        json.dump(answer, file)
"""


@pytest.fixture(scope="module")
def saved(perturb, images, labels, tmp_path_factory):
    """(the flow, the folder of its file): compiled and off its start, class-conditional, with a shuffle."""
    folder = tmp_path_factory.mktemp("saved")
    flow = zoo.glow(levels=2, steps=1, width=8, num_classes=3, input_shape=(8, 8, 1))
    perturb(flow)
    flow.compile(optimizer=keras.optimizers.Adam(0.00125))
    flow.save(folder / "flow.keras")
    np.savez(folder / "data.npz", images=images, labels=labels, latents=flow.encode(images, labels))
    return flow, folder


@pytest.mark.parametrize(
    "reader", [name if name == "jax" else pytest.param(name, marks=pytest.mark.long) for name in READERS]
)
def test_a_file_means_the_same_on_every_engine(saved, images, labels, run_python, reader):
    flow, folder = saved
    config = json.dumps(keras.saving.serialize_keras_object(Flow(StochasticPermute())))
    needed = "jax" if reader == "numpy" else reader  # numpy borrows JAX's convolutions
    run_python(READ, engine=reader, hidden=[e for e in ENGINES if e != needed], args=[folder, config])
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["engine"] == reader
    assert set(answer["loaded"]) <= {needed}
    assert (answer["optimizer"], round(answer["rate"], 6)) == ("Adam", 0.00125)
    np.testing.assert_allclose(answer["log_prob"], flow.log_prob(images, labels), rtol=PARITY)
    np.testing.assert_allclose(answer["bits"], flow.bits_per_dim(images, labels, samples=2), rtol=PARITY)
    z = flow.encode(images, labels)
    # Latents are of the size of 1 to 5; those near 0 are differences of such.
    np.testing.assert_allclose(answer["latents"], z, rtol=PARITY, atol=PARITY * np.abs(z).max())
    np.testing.assert_array_equal(answer["decoded"], images)
    assert np.shape(answer["sampled"]) == (2, 3, 8, 8, 1)
    assert answer["sampled"] == answer["again"]
    if reader == "numpy":
        assert answer["fit"].startswith("fit not implemented for NumPy")


@pytest.mark.every_engine
@pytest.mark.parametrize(
    "part",
    [
        lambda flow: flow,
        lambda flow: flow.base,
        lambda flow: flow.bijector.parts[0],
        lambda flow: flow.bijector.parts[0].conditioner,
        lambda flow: flow.bijector.parts[1],
        lambda flow: flow.bijector.parts[1].block.parts[0],
    ],
    ids=["flow", "base", "layer", "network", "repeat", "layer of a repeat"],
)
def test_frozen_parts_stay_frozen_in_a_file_and_in_training(part, perturb, tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    pair = Chain([Coupling(MLP([3])), Coupling(MLP([3]), swap=True)])
    parts = [Coupling(MLP([3])), Repeat(pair, 2), Coupling(MLP([3]))]
    flow = perturb(Flow(Chain(parts), base=Normal(learn=True)).adapt(x))
    part(flow).trainable = False
    flow.bijector.parts[2].trainable = True
    flow.compile("adam")
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert len(loaded.trainable_variables) == len(flow.trainable_variables) < len(flow.variables)
    before = [array(variable) for variable in loaded.non_trainable_variables]
    if loaded.trainable:
        loaded.fit(x, verbose=0)
    for variable, value in zip(loaded.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(array(variable), value)
