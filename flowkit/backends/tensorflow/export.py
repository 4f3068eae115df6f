"""A function of tensors as a file that needs no flowkit: as Keras writes it, and read back by TensorFlow."""

from typing import Any

import tensorflow as tf

from flowkit.backends.any.export import ways, write_graph

__all__ = ["read_graph", "ways", "write_graph"]


def read_graph(path: str, format: str) -> Any:
    """A function (name -> array) -> list of arrays that runs a file of a format of the engine's own."""
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
