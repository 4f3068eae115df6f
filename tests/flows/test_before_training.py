"""What would train apart, clip apart or not divide on several devices is refused before it begins."""

import pytest

from flowkit.engines import engine

engine_is = {
    name: pytest.mark.skipif(engine.name != name, reason=f"only {name} has it")
    for name in ("jax", "torch", "tensorflow")
}


@engine_is["jax"]
def test_a_batch_that_does_not_divide_is_refused_and_the_flow_goes_on(run_python):
    code = """
        import os
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
        import keras, numpy as np
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        from flowkit import Flow
        from flowkit.bijectors import Shift
        x = np.random.default_rng(0).normal(size=(13, 3)).astype("float32")
        flow = Flow(Shift())
        flow.adapt(x)
        flow.compile("adam")
        flow.fit(x[:12], batch_size=4, verbose=0)
        calls = {
            "fit": lambda: flow.fit(x, batch_size=4, verbose=0),
            "odd": lambda: flow.fit(x[:12], batch_size=3, verbose=0),
            "evaluate": lambda: flow.evaluate(x, batch_size=4, verbose=0),
            "predict": lambda: flow.predict(x, batch_size=4, verbose=0),
            "validation": lambda: flow.fit(x[:12], batch_size=4, validation_data=x, verbose=0),
            "on batch": lambda: flow.test_on_batch(x),
        }
        for name, call in calls.items():
            try:
                call()
            except ValueError as error:
                print(name, "share evenly" in str(error))
        batches = [({"x": x[:4]},), ({"x": x[4:5]},)]
        try:
            flow.evaluate(iter(batches), verbose=0)
        except Exception as error:
            print("data set", type(error).__name__)
        print(np.isfinite(flow.log_prob(x)).all(), np.isfinite(flow.evaluate(x[:12], batch_size=6, verbose=0)).all())
    """
    told = run_python(code, engine="jax").splitlines()
    names = ("fit", "odd", "evaluate", "predict", "validation", "on batch")
    assert told[:6] == [f"{name} True" for name in names]
    # Some versions of JAX print a line of their own.
    assert any(line.startswith("data set") for line in told[6:-1])
    assert told[-1] == "True True"


@engine_is["tensorflow"]
@pytest.mark.parametrize("word", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.every_engine
def test_clipping_each_share_is_refused(run_python, word):
    code = f"""
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        import keras, flowkit
        from flowkit.bijectors import Shift
        with tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"]).scope():
            flow = flowkit.Flow(Shift())
            flow.build((None, 3))
            flow.compile(keras.optimizers.SGD(0.5, {word}=1.0), jit_compile=False)
        try:
            flow.fit(np.zeros((8, 3), "float32"), batch_size=8, verbose=0)
        except ValueError as error:
            print(error)
    """
    assert f"{word}=1.0 expects one replica, received 2" in run_python(code, engine="tensorflow")


@engine_is["torch"]
@pytest.mark.long
def test_two_processes_do_not_train_apart(run_python, tmp_path):
    code = f"""
        import sys
        import numpy as np, torch
        import torch.multiprocessing as processes

        def one(rank):
            torch.distributed.init_process_group(
                "gloo", init_method="file://{tmp_path}/meet", rank=rank, world_size=2
            )
            from flowkit import Flow
            from flowkit.bijectors import Shift
            flow = Flow(Shift())
            flow.compile("adam")
            try:
                flow.fit(np.zeros((8, 3), "float32"), verbose=0)
            except RuntimeError as error:
                open(f"{tmp_path}/{{rank}}", "w").write(str(error))
            torch.distributed.destroy_process_group()

        import os
        if os.fork() == 0:
            one(1)
            os._exit(0)
        one(0)
        os.wait()
    """
    run_python(code, engine="torch")
    for rank in "01":
        assert "received a group of 2" in (tmp_path / rank).read_text()
