"""TensorFlow, which runs graphs."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from flowkit.engines import steps, tensorflow_backprop
from flowkit.engines.base import Engine


class StepWindows(steps.StepWindows):
    """Rows along the first axis, written by a gather: TensorFlow's update of a slice has no gradient."""

    def written(self, x, k, rows):
        place = tf.range(x.shape[0]) - self._start(k)
        inside = tf.logical_and(place >= 0, place < self._count)
        spread = tf.gather(tf.cast(rows, x.dtype), tf.clip_by_value(place, 0, self._count - 1))
        return tf.where(tf.reshape(inside, (-1, *(1,) * (len(x.shape) - 1))), spread, x)


class _Counted(keras.random.SeedGenerator):
    """The seeds of a whole number, as Keras counts them. It has no variable, which a graph can make only once."""

    def __init__(self, seed):
        self._state = np.array([seed, 0], "uint32")

    def next(self, ordered=True):
        state, self._state = self._state, self._state + np.array([0, 1], "uint32")
        return ops.convert_to_tensor(state)


class TensorFlowEngine(Engine):
    """TensorFlow."""

    name = "tensorflow"
    StepWindows = StepWindows
    backprop = staticmethod(tensorflow_backprop.backprop)

    def tensor(self, variable):
        return tf.convert_to_tensor(variable.value)  # `value` may be a variable of TensorFlow's

    # The engine itself

    def devices(self):
        return [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]

    def replicas(self):
        return tf.distribute.get_strategy().num_replicas_in_sync

    def replicas_of(self, model):
        return model.distribute_strategy.scope()

    def replica_share(self, loss):
        return loss / self.replicas()

    # Functions

    def lgamma(self, x):
        return tf.math.lgamma(x)

    def convolve(self, x, kernel, bias):
        if kernel.shape[0] == 1:
            return ops.matmul(x, kernel[0, 0]) + bias
        y = ops.conv(x, kernel, padding="same", data_format="channels_last")
        # oneDNN gives an empty batch the channels of its input.
        return tf.reshape(y, (-1, *x.shape[1:-1], kernel.shape[-1])) + bias

    # Loops

    def traces(self):
        return not tf.executing_eagerly()

    # Gradients: nothing is recorded outside of a GradientTape

    def seeds(self, seed):
        return _Counted(seed) if isinstance(seed, int) else seed

    def compile_pure(self, function):
        return tf.function(function, autograph=False)

    def known(self, x):
        return x.numpy() if tf.executing_eagerly() else None

    def gradients(self, function, tensors):
        tensors = [tf.convert_to_tensor(t) for t in tensors]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(tensors)
        return value, tape.gradient(value, tensors, unconnected_gradients="zero")

    # Answers without gradients: as graphs

    def inference_function(self, function, layer, *, changes=True):
        compiled = {}

        def answer(*args):
            with self.no_grad(), keras.StatelessScope():  # which drops losses that layers add
                return function(*args)

        def run(*args):
            # reduce_retracing frees every axis that varied; only the batch may, since layers read the others.
            # Autograph would wrap flowkit's errors in its own.
            events = tuple(None if t is None else tuple(t.shape[1:]) for t in tf.nest.flatten(args))
            if events not in compiled:
                compiled[events] = tf.function(answer, reduce_retracing=True, autograph=False)
            return compiled[events](*args)

        return run

    def compile_fully(self, function, layer, *, thorough=False):
        return tf.function(function, jit_compile=True)

    # Files

    def read_graph(self, path, format):
        return _read_lite(path) if format == "litert" else _read_saved_model(path)


def _read_saved_model(path):
    module = tf.saved_model.load(path)

    def run(inputs):
        given = [tf.convert_to_tensor(array) for array in inputs.values()]
        answer = module.serve(given[0] if len(given) == 1 else given)
        return [tensor.numpy() for tensor in tf.nest.flatten(answer)]

    return run


def _read_lite(path):
    interpreter = tf.lite.Interpreter(path)

    def run(inputs):
        slots = interpreter.get_input_details()
        by_name = {slot["name"].removeprefix("serving_default_").partition(":")[0]: slot for slot in slots}
        given = list(zip(slots, inputs.values(), strict=True))
        if inputs.keys() <= by_name.keys():
            given = [(by_name[name], array) for name, array in inputs.items()]
        for slot, array in given:
            interpreter.resize_tensor_input(slot["index"], array.shape)
        interpreter.allocate_tensors()
        for slot, array in given:
            interpreter.set_tensor(slot["index"], array)
        interpreter.invoke()
        # They do not come in their order.
        answers = sorted(interpreter.get_output_details(), key=lambda slot: slot["name"])
        return [interpreter.get_tensor(slot["index"]) for slot in answers]

    return run
