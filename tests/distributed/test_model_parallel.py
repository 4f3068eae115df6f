"""A Glow split over devices is the Glow that one device has: in training, in its file, and in what it answers."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from flowkit import Flow, distributed
from flowkit.bijectors import Shift
from flowkit.engines import engine
from tests.distributed.launching import ROOT

PROGRAM = Path(__file__).with_name("split_model.py")

pytestmark = pytest.mark.long
on_jax = pytest.mark.skipif(engine.name != "jax", reason="JAX alone splits weights; others refuse, see below")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder that `split_model.py` has filled."""
    folder = tmp_path_factory.mktemp("split")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    own = {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "jax"}
    command = [sys.executable, PROGRAM, folder]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@on_jax
@pytest.mark.parametrize("name", ["two", "four"])
@pytest.mark.two_engines
def test_the_weights_and_the_file_are_those_of_one_device(trained, name):
    whole, split = (np.load(trained / f"{file}.npz") for file in ("whole", name))
    assert np.abs(whole["weights"] - split["weights"]).max() < 1e-6
    np.testing.assert_allclose(split["log_prob"], whole["log_prob"], rtol=1e-5)
    # The 3 kernels of a Repeat are split; so are moment, norm and average of each in the optimizer.
    paths = split["split"].tolist()
    assert (len(paths), whole["split"].size) == (3 * (1 + 3), 0)
    assert all(part in " ".join(paths) for part in ("l_1", "l_2", "l_last"))
    flow = keras.saving.load_model(trained / f"{name}.keras")
    x = np.random.default_rng(0).normal(size=(32, 4, 4, 2)).astype("float32")
    np.testing.assert_allclose(flow.log_prob(x), split["log_prob"], rtol=1e-5)


@on_jax
@pytest.mark.two_engines
def test_a_width_that_does_not_divide_is_refused(trained):
    assert "6" in (trained / "refused.txt").read_text()


@on_jax
@pytest.mark.two_engines
def test_a_layout_that_a_variable_was_given_stays():
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), keras.distribution.list_devices()[:1])
    split = distributed.model_parallel(mesh)
    kernel = keras.Variable(np.zeros((3, 3, 4, 8), "float32"), name="W")
    kernel._path = "glow/conv_net/l_1/W"
    assert kernel._layout is None  # where Keras keeps it
    assert split.get_variable_layout(kernel).axes == (None, None, None, "model")
    kernel._layout = keras.distribution.TensorLayout([None] * 4, mesh)
    assert split.get_variable_layout(kernel) is kernel._layout


@pytest.mark.skipif(engine.name == "jax", reason="JAX splits weights")
def test_other_engines_refuse_instead_of_training_on_one_device_without_a_word():
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), ["cpu:0", "cpu:1"])
    with pytest.raises(NotImplementedError, match=f"got the backend {engine.name}, .*expected JAX"):
        distributed.model_parallel(mesh)
    flow = Flow(Shift())
    flow.compile("sgd")
    own = keras.distribution.ModelParallel(layout_map=keras.distribution.LayoutMap(mesh))
    keras.distribution.set_distribution(own)
    try:
        with pytest.raises(NotImplementedError, match=r"got ModelParallel of keras\.distribution"):
            flow.fit(np.ones((4, 2), "float32"), verbose=0)
    finally:
        keras.distribution.set_distribution(None)
